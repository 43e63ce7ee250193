"""Words and sentence patterns of the `agreement` task, apart for training and validation.

The content words of the two splits share nothing, nor do their patterns; function words
(FUNCTION_WORDS) are shared. Plurals are the singular plus s, or written out behind a slash; third
persons of verbs are the base plus s. An underscore stands for a space.

Slots of a pattern:

- `{S.person}`: a word of that list, in the number of S. S controls the agreement, D and E
  distract; D and E mostly have the number of S. O is always singular and P always plural.
- `{S!be}`: the one form that agrees with S, and in an ungrammatical sentence does not.
- `{S=glad}`: a verb that agrees with S in every sentence.
- `{S.who}`, `{S.kin}`: people of known gender, with or without names; S is then masculine,
  feminine or plural.
- `{mood}` and the like: a word of that list.

"the" before a noun of a letter may become "this" or "these".
"""

from collections.abc import Mapping

Words = Mapping[str, tuple[str, ...]]
Patterns = Mapping[str, tuple[str, ...]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


def _lists(**lists: str) -> Words:
    return {name: _words(text) for name, text in lists.items()}


FUNCTION_WORDS = frozenset(
    _words("""
        a an the one another two three several some many both each every all most of
        is are was were has have do does not been never always still
        who whom that which this these why where there and but
        near beside behind opposite next to in front with for from on after before during
        because spite as at unlike himself herself themselves
    """)
)
"""Words that both splits use."""

_SHARED = {
    "near": "near beside behind opposite next_to in_front_of",
    "one/singular": "one every_one",
    "one/plural": "many several most some all",
    "each/singular": "each every",
    "each/plural": "both many several all",
    "a/singular": "a one another",
    "a/plural": "two three several many",
}

WORDS: dict[str, Words] = {
    "train": _lists(
        **_SHARED,
        person="""nurse driver farmer pilot lawyer doctor baker senator singer tailor painter
            soldier dentist banker plumber clerk sailor butcher tourist guard barber chemist
            officer manager voter player gardener composer editor miner child/children
            thief/thieves secretary/secretaries boss/bosses carpenter poet witness/witnesses
            hunter fisherman/fishermen critic""",
        thing="""key lamp letter picture bottle bicycle chair carpet basket mirror piano engine
            ticket blanket hammer ladder candle curtain novel statue knife/knives shelf/shelves
            box/boxes watch/watches diary/diaries clock jacket computer magazine rope""",
        place="""village bridge harbor station garden hospital castle market tunnel kitchen
            factory/factories church/churches island museum stable tower office court theater
            farm""",
        event="storm meeting concert strike flood trial party/parties quarrel election accident",
        period="week month evening summer",
        masculine="""boy father uncle king waiter prince monk husband gentleman/gentlemen landlord
            grandson emperor bridegroom policeman/policemen""",
        feminine="""girl mother aunt queen waitress/waitresses princess/princesses nun wife/wives
            lady/ladies landlady/landladies granddaughter empress/empresses bride
            policewoman/policewomen""",
        he="John Peter David Robert Thomas Henry Paul Frank George Walter",
        she="Mary Susan Linda Karen Emily Helen Alice Ruth Sarah Martha",
        of_person="young tall clever foreign kind rude pale elegant quiet stubborn",
        of_thing="small red wooden strange round white narrow thick shiny plain",
        mood="""tired angry happy nervous polite rich lonely generous jealous hungry lazy brave
            calm sick confused famous""",
        state="""broken dirty heavy expensive new empty useless beautiful wet cheap safe rusty
            full crooked""",
        gone="disappeared arrived changed vanished",
        rest="""smile sleep work shout travel complain dance wait listen tremble hesitate sneeze
            cough sing""",
        glad="admire respect avoid fear support mention annoy describe amuse",
        past="""praised followed visited invited ignored helped hired trusted greeted warned
            thanked chased interviewed questioned accompanied recognized insulted""",
        hurt="blamed injured defended introduced protected betrayed controlled",
        pleased="pleased frightened disturbed delighted bored inspired",
        made="built sold repaired bought borrowed carried hid designed found",
        said="thought knew believed noticed suspected",
        adv="often loudly rarely politely quickly together",
    ),
    "validation": _lists(
        **_SHARED,
        person="""teacher pupil cook judge author mayor detective scientist musician student
            merchant writer minister inspector athlete priest surgeon librarian captain mechanic
            deputy/deputies hostess/hostesses salesman/salesmen""",
        thing="""book cup table window map guitar suitcase camera coin hat scarf/scarves
            brush/brushes vase pencil wagon newspaper trophy/trophies spoon drum""",
        place="""house river school airport forest lake hotel prison library/libraries
            beach/beaches palace valley restaurant cottage""",
        event="fire wedding festival earthquake parade lecture ceremony/ceremonies",
        masculine="""man/men brother son nephew actor duke grandfather wizard stepson cowboy""",
        feminine="""woman/women sister daughter niece actress/actresses duchess/duchesses
            grandmother witch/witches stepdaughter cowgirl""",
        he="James Michael William Daniel Edward Kevin",
        she="Anna Laura Emma Jessica Nancy Julia",
        of_person="elderly smart local friendly strong gentle",
        of_thing="large green golden unusual square modern",
        mood="sad proud thirsty ready busy careful shy cheerful anxious guilty",
        state="old clean damaged valuable lost ugly fragile dusty missing",
        gone="left returned fallen survived",
        rest="laugh talk run whisper move swim snore yawn nod lie",
        glad="like remember love hate know need",
        past="met saw called adored rescued photographed phoned teased hugged",
        hurt="hurt embarrassed criticized excused humiliated pitied",
        pleased="surprised worried entertained",
        made="purchased stole wanted chose painted",
        said="claimed assumed heard hoped",
        adv="slowly again sometimes calmly",
    ),
}
"""Lists of words by split and name."""

PATTERNS: dict[str, Patterns] = {
    "train": {
        "simple": (
            "the {S.person} {S!be} {mood}.",
            "the {S.thing} {S!be} {state}.",
            "the {S.thing} {S!have} {gone}.",
            "the {S.person} {S!have} {gone}.",
        ),
        "prepositional phrase": (
            "the {S.person} {near} the {D.person} {S!be} {mood}.",
            "the {S.thing} for the {D.person} from the {E.place} {S!have} {gone}.",
            "the {S.person} from the {D.place} {near} the {E.place} {S!do} not {rest}.",
        ),
        "subject relative clause": (
            "the {S.person} who {past} the {D.person} {S!be} {mood}.",
            "the {S.thing} that {pleased} the {D.person} {S!be} {state}.",
            "the {S.person} that {past} the {D.person} in the {E.place} {S!rest} {adv}.",
        ),
        "object relative clause": (
            "the {S.person} that the {D.person} {past} {S!be} {mood}.",
            "the {S.thing} which the {D.person} {made} {S!be} {state}.",
            "the {S.person} the {D.person} {past} at the {E.place} {S!rest} {adv}.",
        ),
        "coordination": (
            "the {D.person} and the {E.person} {P!be} {mood}.",
            "the {O.person} with both the {D.thing} and the {E.thing} {O!be} {mood}.",
            "the {S.person} {near} the {D.person} {S=rest} and {S!glad} the {E.person}.",
        ),
        "reflexive": (
            "{S.who} {near} {D.who} {hurt} {S!self}.",
            "the {S.kin} that {D.who} {past} {hurt} {S!self}.",
            "the {S.kin} who {past} {D.who} {adv} {hurt} {S!self}.",
            "{D.who} {said} that {S.who} {hurt} {S!self}.",
        ),
        "adverbial": (
            "the {S.person}, after the long {D.period} with the {E.person}, {S!be} {mood}.",
            "the {S.thing}, in spite of the {D.event} in the {E.place}, {S!be} {state}.",
            "during the {D.event} at the {E.place}, the {S.person} {S!rest} {adv}.",
        ),
        "quantifier": (
            "{S.each} {S.person} {near} the {D.person} {S!be} {mood}.",
            "{S.each} {S.thing} that the {D.person} {made} {S!have} {gone}.",
            "{S.one} of the {P.thing} {S!be} {state}.",
        ),
        "there": (
            "there {S!be}, {near} the {D.place}, {S.a} {S.thing}.",
            "there {S!be} still {S.a} {S.thing} for the {D.person}.",
        ),
        "inversion": (
            "{S!be} the {S.person} {near} the {D.person} {mood}?",
            "{S!do} the {S.person} who {past} the {D.person} {rest} {adv}?",
            "{near} the {D.place} {S!be} the {S.thing} of the {E.person}.",
        ),
        "nested": (
            "the {S.person} who {past} the {D.person} that the {E.person} {past} {S!be} {mood}.",
            "the {S.person} {near} the {D.person} who {past} the {E.person} {S!rest} {adv}.",
            "the {S.thing} the {D.person} with the {E.thing} {made} {S!be} {state}.",
        ),
    },
    "validation": {
        "simple": (
            "after the {D.event}, the {S.person} {S!be} {mood}.",
            "today, the {S.thing} {S!be} {state}.",
            "the {S.thing} {S!have} {gone} again.",
        ),
        "prepositional phrase": (
            "the {S.person} with the {D.thing} {S!rest} {adv}.",
            "at the {E.place}, the {S.thing} on the {D.thing} {S!be} {state}.",
            "as always, the {S.person} with the {D.thing} from the {E.place} {S!have} {gone}.",
        ),
        "subject relative clause": (
            "the {S.person} who {past} both the {D.person} and the {E.person} {S!glad} {he}.",
            "the {S.thing} which {pleased} the {D.person} at the {E.place} {S!be} {state}.",
        ),
        "object relative clause": (
            "the {S.person} whom the {D.person} from the {E.place} {past} {S!have} {gone}.",
            "the {S.thing} the {D.person} {made} for the {E.person} {S!be} {state}.",
        ),
        "coordination": (
            "the {D.thing} and the {E.thing} {near} the {S.place} {P!be} {state}.",
            "at the {S.place}, the {O.person} {near} both the {D.person} and the {E.person} {O!be} "
            "{mood}.",
            "the {S.person} that {past} the {D.person} {S=glad} {she} but {S!rest} {adv}.",
        ),
        "reflexive": (
            "the {S.kin} whom {D.who} {past} at the {E.place} {hurt} {S!self}.",
            "{S.who}, unlike {D.who}, {hurt} {S!self}.",
            "{D.who}, who {past} the {E.person}, {said} that {S.who} {hurt} {S!self} {adv}.",
        ),
        "adverbial": (
            "the {S.person}, because of the {D.event} {near} the {E.place}, {S!be} {mood}.",
            "before the {D.event}, the {S.person} from the {E.place} {S!rest} {adv}.",
            "the {S.thing}, as the {D.person} from the {E.place} {said}, {S!be} {state}.",
        ),
        "quantifier": (
            "{S.each} {S.person} who {past} the {D.person} {S!rest} {adv}.",
            "in the {D.place}, {S.one} of the {P.person} {S!be} {mood}.",
            "{S.each} {S.thing} {near} the {D.thing} {S!be} {state}.",
        ),
        "there": (
            "in the {D.place} there {S!be} always {S.a} {S.thing} {near} the {E.thing}.",
            "there {S!have} never been {S.a} {S.thing} that {pleased} the {D.person}.",
        ),
        "inversion": (
            "where {S!be} the {S.thing} for the {D.person}?",
            "why {S!have} the {S.person} whom the {D.person} {past} {gone}?",
            "on the {D.thing} {near} the {E.person} {S!be} the {S.thing} that {pleased} {she}.",
        ),
        "nested": (
            "the {S.thing} for the {D.person} whom the {E.person} {past} {S!be} {state}.",
            "the {S.person} that the {D.person} {near} the {E.person} {past} {S!glad} {he}.",
            "the {S.thing} that {pleased} the {D.person} who {past} {she} {S!have} {gone}.",
        ),
    },
}
"""Sentence patterns by split and phenomenon."""
