"""An airline, as a database."""

from envs.analyst.domains.domain import CITIES, PEOPLE, Domain, Entity, Filter
from envs.analyst.schema import MONEY, WEIGHT, Amount, Code, Day, Key, Label, Names, Number, Pick, Ref, Table

AIRLINE = Domain(
    about="an airline",
    tables={
        "airport": Table(
            "airport airports station field",
            (6, 8),
            {
                "id": ("id airport_id station_no", Key()),
                "name": ("name airport_name title", Names((CITIES, ("Airport", "Field")))),
                "country": ("country land nation", Pick(("Spain", "Poland", "Norway", "Italy"))),
            },
        ),
        "flight": Table(
            "flight flights service connection",
            (20, 28),
            {
                "id": ("id flight_id service_no", Key()),
                "number": ("number flight_no callsign", Label("HS")),
                "target": ("destination_id to_airport arrives_at", Ref("airport")),
                "seats": ("seats capacity places", Number(60, 240)),
            },
        ),
        "passenger": Table(
            "passenger passengers traveller guest",
            (28, 40),
            {
                "id": ("id passenger_id guest_no", Key()),
                "name": ("name full_name traveller_name", PEOPLE),
                "tier": ("tier status_level card", Pick(("basic", "silver", "gold"), 0.25)),
            },
        ),
        "booking": Table(
            "booking bookings reservation ticket",
            (100, 150),
            {
                "id": ("id booking_id ticket_no", Key()),
                "passenger": ("passenger_id guest_id booked_for", Ref("passenger", 0.85)),
                "flight": ("flight_id service_id leg", Ref("flight", 0.8)),
                "day": ("departs_on flight_date travel_day", Day()),
                "refunded": ("refunded_on refund_date money_back", Day("day", 0.8)),
                "fare": ("fare price amount", Amount(MONEY, 3900, 49900)),
                "baggage": ("baggage luggage bags", Amount(WEIGHT, 300, 3200, 0.2)),
                "cabin": ("cabin service_class booking_class", Code(("economy", "premium", "business", "first"))),
            },
        ),
    },
    fact="booking",
    events="bookings",
    entities=(
        Entity("passenger", "passengers", ("passenger",), "name"),
        Entity("flight number", "flight numbers", ("flight",), "number"),
    ),
    groups=(
        Entity("destination airport", "destination airports", ("flight", "target"), "name"),
        Entity("country of destination", "countries of destination", ("flight", "target"), "country"),
    ),
    filters=(
        Filter("for flights to {}", ("flight", "target"), "country"),
        Filter("of {} card holders", ("passenger",), "tier"),
        Filter("for flights to {}", ("flight", "target"), "name"),
    ),
    measures={"fare": "fare", "weight of baggage": "baggage"},
    day=("were for a departure", "day"),
    open=("have not been refunded", "refunded"),
    code=("were in the cabin class", "cabin"),
    found=((("flight",), "number"), (("passenger",), "name"), (("flight", "target"), "name")),
)
