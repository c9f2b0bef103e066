"""A shop for tools and garden things, as a database."""

from envs.analyst.domains.domain import CITIES, COLOURS, PEOPLE, Domain, Entity, Filter
from envs.analyst.schema import MONEY, WEIGHT, Amount, Code, Day, Key, Label, Names, Number, Pick, Ref, Table

SHOP = Domain(
    about="a shop for tools and garden things",
    tables={
        "supplier": Table(
            "supplier suppliers vendor maker",
            (5, 7),
            {
                "id": ("id supplier_id vendor_no", Key()),
                "name": ("name company firm", Names((COLOURS[:6], ("Works", "Trading")))),
                "country": ("country origin based_in", Pick(("Austria", "Chile", "Japan"))),
            },
        ),
        "product": Table(
            "product products article goods",
            (24, 34),
            {
                "id": ("id product_id article_no", Key()),
                "name": (
                    "name label product_name",
                    Names(
                        (
                            ("small", "large", "folding", "electric", "wooden"),
                            ("ladder", "saw", "rake", "lamp", "pump", "cart", "drill"),
                        )
                    ),
                ),
                "supplier": ("supplier_id vendor_id made_by", Ref("supplier")),
                "sku": ("sku item_code stock_code", Label("GT")),
                "stock": ("stock on_hand units_left", Number(0, 90)),
            },
        ),
        "customer": Table(
            "customer customers buyer account",
            (26, 36),
            {
                "id": ("id customer_id account_no", Key()),
                "name": ("name full_name buyer_name", PEOPLE),
                "city": ("city town ships_to", Pick(CITIES[2:8], 0.08)),
            },
        ),
        "sale": Table(
            "sale sales purchase receipt_line",
            (110, 160),
            {
                "id": ("id sale_id receipt_no", Key()),
                "customer": ("customer_id buyer_id sold_to", Ref("customer", 0.85)),
                "product": ("product_id article_id what", Ref("product", 0.8)),
                "day": ("sold_on sale_date bought", Day()),
                "delivered": ("delivered_on delivery_date arrived", Day("day", 0.2)),
                "total": ("total amount paid", Amount(MONEY, 900, 39900)),
                "weight": ("weight parcel_weight shipped_weight", Amount(WEIGHT, 50, 2400, 0.1)),
                "method": (
                    "method payment_type pay_code",
                    Code(("by card", "in cash", "with a voucher", "on account")),
                ),
            },
        ),
    },
    fact="sale",
    events="sales",
    entities=(
        Entity("customer", "customers", ("customer",), "name"),
        Entity("product", "products", ("product",), "name"),
    ),
    groups=(
        Entity("supplier", "suppliers", ("product", "supplier"), "name"),
        Entity("city", "cities", ("customer",), "city"),
    ),
    filters=(
        Filter("to customers in {}", ("customer",), "city"),
        Filter("of products from the supplier {}", ("product", "supplier"), "name"),
        Filter("of products whose supplier is in {}", ("product", "supplier"), "country"),
    ),
    measures={"amount paid": "total", "parcel weight": "weight"},
    day=("were made", "day"),
    open=("have not been delivered yet", "delivered"),
    code=("were paid", "method"),
    found=((("product",), "sku"), (("customer",), "name"), (("product", "supplier"), "name")),
)
