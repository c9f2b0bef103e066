"""A city library, as a database."""

from envs.analyst.domains.domain import CITIES, COLOURS, PEOPLE, Domain, Entity, Filter
from envs.analyst.schema import MONEY, Amount, Code, Day, Key, Label, Names, Number, Pick, Ref, Table

LIBRARY = Domain(
    about="a city library",
    tables={
        "branch": Table(
            "branch branches site location",
            (4, 6),
            {
                "id": ("id branch_id site_no", Key()),
                "name": (
                    "name branch_name title",
                    Names((("North", "South", "Harbour", "Castle", "Park", "Mill"), ("Branch", "House"))),
                ),
                "seats": ("seats places capacity", Number(20, 200)),
            },
        ),
        "member": Table(
            "member members reader card_holder",
            (24, 36),
            {
                "id": ("id member_id card_no", Key()),
                "name": ("name full_name reader_name", PEOPLE),
                "city": ("city town home_town", Pick(CITIES[:5], 0.08)),
                "joined": ("joined joined_on member_since", Day()),
            },
        ),
        "book": Table(
            "book books title_list holding",
            (24, 36),
            {
                "id": ("id book_id inventory_no", Key()),
                "title": (
                    "title book_title caption",
                    Names((COLOURS, ("River", "Garden", "Letter", "Winter", "Tower", "Mirror"))),
                ),
                "genre": ("genre shelf subject_area", Pick(("crime", "history", "poetry", "travel", "science"))),
                "shelfmark": ("shelfmark call_mark signature", Label("LB")),
            },
        ),
        "loan": Table(
            "loan loans lending borrowing",
            (90, 140),
            {
                "id": ("id loan_id transaction_no", Key()),
                "member": ("member_id reader_id borrower", Ref("member", 0.85)),
                "book": ("book_id item_id what", Ref("book", 0.8)),
                "branch": ("branch_id site_id place", Ref("branch")),
                "lent": ("lent_on loan_date taken_out", Day()),
                "returned": ("returned_on return_date back_on", Day("lent", 0.15)),
                "fine": ("fine penalty late_fee", Amount(MONEY, 50, 1900, 0.4)),
                "channel": ("channel desk_type how", Code(("at the desk", "at a machine", "over the internet"))),
            },
        ),
    },
    fact="loan",
    events="loans",
    entities=(Entity("member", "members", ("member",), "name"), Entity("book", "books", ("book",), "title")),
    groups=(Entity("genre", "genres", ("book",), "genre"), Entity("branch", "branches", ("branch",), "name")),
    filters=(
        Filter("by members from {}", ("member",), "city"),
        Filter("of books in the genre {}", ("book",), "genre"),
        Filter("from the branch {}", ("branch",), "name"),
    ),
    measures={"fine": "fine"},
    day=("began", "lent"),
    open=("have not come back yet", "returned"),
    code=("were made", "channel"),
    found=((("book",), "shelfmark"), (("book",), "title"), (("member",), "name")),
)
