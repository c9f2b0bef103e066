"""A garage, as a database."""

from envs.analyst.domains.domain import CITIES, FIRST, PEOPLE, Domain, Entity, Filter
from envs.analyst.schema import MONEY, TIME, Amount, Code, Day, Key, Label, Names, Pick, Ref, Table

GARAGE = Domain(
    about="a garage",
    tables={
        "owner": Table(
            "owner owners keeper holder",
            (20, 30),
            {
                "id": ("id owner_id keeper_no", Key()),
                "name": ("name full_name owner_name", PEOPLE),
                "village": ("village town address", Pick(CITIES[6:11], 0.08)),
            },
        ),
        "car": Table(
            "car cars vehicle automobile",
            (26, 36),
            {
                "id": ("id car_id vehicle_no", Key()),
                "plate": ("plate number_plate registration", Label("GA")),
                "make": ("make brand manufacturer", Pick(("Adria", "Borealis", "Corvo", "Delfin"))),
                "owner": ("owner_id keeper_id belongs_to", Ref("owner")),
            },
        ),
        "mechanic": Table(
            "mechanic mechanics fitter technician",
            (8, 12),
            {
                "id": ("id mechanic_id staff_no", Key()),
                "name": ("name full_name fitter_name", Names((FIRST, ("Anvil", "Bolt", "Clutch", "Dynamo")))),
                "locker": ("locker locker_no badge", Label("MK")),
            },
        ),
        "repair": Table(
            "repair repairs job work_order",
            (100, 140),
            {
                "id": ("id repair_id order_no", Key()),
                "car": ("car_id vehicle_id done_on", Ref("car", 0.8)),
                "mechanic": ("mechanic_id fitter_id done_by", Ref("mechanic", 0.75)),
                "day": ("begun_on start_date brought_in", Day()),
                "collected": ("collected_on pickup_date taken_home", Day("day", 0.2)),
                "cost": ("cost price invoice", Amount(MONEY, 4000, 89000)),
                "labour": ("labour work_time effort", Amount(TIME, 50, 900)),
                "kind": (
                    "kind job_type category",
                    Code(("an inspection", "bodywork", "under warranty", "tyre changes")),
                ),
            },
        ),
    },
    fact="repair",
    events="repairs",
    entities=(
        Entity("car", "cars (number plates)", ("car",), "plate"),
        Entity("mechanic", "mechanics", ("mechanic",), "name"),
    ),
    groups=(Entity("make", "makes", ("car",), "make"), Entity("town", "towns", ("car", "owner"), "village")),
    filters=(
        Filter("of cars of the make {}", ("car",), "make"),
        Filter("for owners from {}", ("car", "owner"), "village"),
        Filter("by the mechanic {}", ("mechanic",), "name"),
    ),
    measures={"cost": "cost", "labour": "labour"},
    day=("began", "day"),
    open=("have not been collected yet", "collected"),
    code=("were", "kind"),
    found=((("car",), "plate"), (("car", "owner"), "name"), (("mechanic",), "locker")),
)
