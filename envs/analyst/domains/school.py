"""A school, as a database."""

from envs.analyst.domains.domain import PEOPLE, Domain, Entity, Filter
from envs.analyst.schema import POINTS, TIME, Amount, Code, Day, Key, Label, Names, Number, Pick, Ref, Table

SCHOOL = Domain(
    about="a school",
    tables={
        "form": Table(
            "form school_class homeroom year_group",
            (5, 7),
            {
                "id": ("id form_id room_no", Key()),
                "name": ("name form_name called", Names((("5", "6", "7", "8"), ("a", "b")))),
                "floor": ("floor level storey", Number(0, 3)),
            },
        ),
        "pupil": Table(
            "pupil pupils student learner",
            (28, 40),
            {
                "id": ("id pupil_id student_no", Key()),
                "name": ("name full_name pupil_name", PEOPLE),
                "form": ("form_id class_id belongs_to", Ref("form")),
                "bus": ("bus bus_line transport", Pick(("line 1", "line 2", "line 3"), 0.3)),
            },
        ),
        "exam": Table(
            "exam exams test paper",
            (18, 24),
            {
                "id": ("id exam_id paper_no", Key()),
                "title": (
                    "title topic exam_name",
                    Names(
                        (
                            ("Algebra", "Grammar", "Optics", "Cells", "Rome", "Maps"),
                            ("basics", "revision", "finals", "quiz"),
                        )
                    ),
                ),
                "subject": ("subject field discipline", Pick(("maths", "English", "science", "history"))),
                "paper": ("paper_code print_code exam_code", Label("EX")),
            },
        ),
        "result": Table(
            "result results attempt sitting",
            (110, 160),
            {
                "id": ("id result_id sitting_no", Key()),
                "pupil": ("pupil_id student_id taken_by", Ref("pupil", 0.85)),
                "exam": ("exam_id test_id paper_id", Ref("exam", 0.8)),
                "day": ("sat_on exam_date written", Day()),
                "marked": ("marked_on marking_date graded", Day("day", 0.15)),
                "points": ("points score marks", Amount(POINTS, 100, 10000, 0.1)),
                "time": ("time_used time_taken duration", Amount(TIME, 25, 200)),
                "kind": ("kind mode exam_type", Code(("written", "oral", "practical"))),
            },
        ),
    },
    fact="result",
    events="exam sittings",
    entities=(Entity("pupil", "pupils", ("pupil",), "name"), Entity("exam", "exams", ("exam",), "title")),
    groups=(Entity("form", "forms", ("pupil", "form"), "name"), Entity("subject", "subjects", ("exam",), "subject")),
    filters=(
        Filter("by pupils of form {}", ("pupil", "form"), "name"),
        Filter("in the subject {}", ("exam",), "subject"),
        Filter("by pupils who take bus {}", ("pupil",), "bus"),
    ),
    measures={"number of points": "points", "time used": "time"},
    day=("took place", "day"),
    open=("have not been marked yet", "marked"),
    code=("were", "kind"),
    found=((("exam",), "paper"), (("pupil",), "name"), (("exam",), "title")),
)
