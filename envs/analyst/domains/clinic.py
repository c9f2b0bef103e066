"""A clinic, as a database."""

from envs.analyst.domains.domain import CITIES, PEOPLE, Domain, Entity, Filter
from envs.analyst.schema import MONEY, TIME, Amount, Code, Day, Key, Label, Names, Pick, Ref, Table

CLINIC = Domain(
    about="a clinic",
    tables={
        "patient": Table(
            "patient patients person client",
            (26, 38),
            {
                "id": ("id patient_id file_no", Key()),
                "name": ("name full_name patient_name", PEOPLE),
                "town": ("town city residence", Pick(CITIES[4:9], 0.08)),
                "insurance": ("insurance insurer payer", Pick(("Aurora", "Beacon", "Compass"), 0.15)),
            },
        ),
        "ward": Table(
            "ward department unit section",
            (4, 5),
            {
                "id": ("id ward_id unit_no", Key()),
                "name": ("name title ward_name", Names((("Heart", "Skin", "Eye", "Bone", "Lung"), ("Ward", "Unit")))),
            },
        ),
        "doctor": Table(
            "doctor doctors physician practitioner",
            (10, 14),
            {
                "id": ("id doctor_id staff_no", Key()),
                "name": (
                    "name full_name doctor_name",
                    Names(
                        (("Dr Adler", "Dr Bach", "Dr Curie", "Dr Darwin", "Dr Euler", "Dr Faraday"), ("I", "II", "III"))
                    ),
                ),
                "ward": ("ward_id unit_id department_id", Ref("ward")),
                "licence": ("licence permit registration", Label("MD")),
            },
        ),
        "visit": Table(
            "visit visits appointment consultation",
            (100, 150),
            {
                "id": ("id visit_id case_no", Key()),
                "patient": ("patient_id person_id who", Ref("patient", 0.85)),
                "doctor": ("doctor_id physician_id seen_by", Ref("doctor", 0.75)),
                "day": ("seen_on visit_date took_place", Day()),
                "paid": ("paid_on payment_date settled", Day("day", 0.2)),
                "fee": ("fee charge billed", Amount(MONEY, 2000, 24000)),
                "length": ("length duration time_taken", Amount(TIME, 25, 300)),
                "urgency": ("urgency triage class", Code(("routine", "urgent", "an emergency"))),
            },
        ),
    },
    fact="visit",
    events="visits",
    entities=(Entity("patient", "patients", ("patient",), "name"), Entity("doctor", "doctors", ("doctor",), "name")),
    groups=(Entity("ward", "wards", ("doctor", "ward"), "name"), Entity("town", "towns", ("patient",), "town")),
    filters=(
        Filter("of patients from {}", ("patient",), "town"),
        Filter("to doctors of the {}", ("doctor", "ward"), "name"),
        Filter("of patients insured with {}", ("patient",), "insurance"),
    ),
    measures={"fee": "fee", "length": "length"},
    day=("took place", "day"),
    open=("have not been paid for yet", "paid"),
    code=("were", "urgency"),
    found=((("doctor",), "licence"), (("patient",), "name"), (("doctor", "ward"), "name")),
)
