"""Whether decoded text can be what the sender meant.

A single-byte character set decodes anything, so a wrong declaration gives wrong names without an error. What can be
caught is caught: bytes that are valid UTF-8 are hardly ever something else, and words that mix scripts or alphabets,
change case in the middle, hold signs, or are made of characters that nobody uses are not words. Every answer here is
a reason to tell the sender, never a reason to change the text. What passes cannot be known from the bytes alone.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from gateway.formats.text import charset

_C1: Final = re.compile(r"[\x80-\x9f]")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_INSIDE: Final = re.compile(
    r"[^\W\d_][¡-©«-´¶-¸»-¿×÷№][^\W\d_]"  # a sign inside a word
    r"|(?<![\w°])[¢-§©¬®¯±¶¸¹¼-¾×÷][^\W\d_]"  # before one; not °, µ, « and the like, which stand before words
    r"|[^\W\d_][¢-¦¨¬¯±¶¹¼-¾×÷](?!\w)"  # or after one; not ² and ³
    r"|[A-Za-zÀ-ɏ][\u064b-\u0652\u060c\u061b\u200e\u200f]+[A-Za-zÀ-ɏ]?"  # Arabic marks in Latin words
)
_FIELD: Final = re.compile(r"[|~\r\n]")
_PRIVATE: Final = re.compile("[\ue000-\uf8ff]")
_FINALS: Final = re.compile(r"[ךםןףץς](?=[^\W\d_])")

_RANGES: Final = (
    (0x0041, 0x024F, "Latin"), (0x0370, 0x03FF, "Greek"), (0x0400, 0x052F, "Cyrillic"), (0x0590, 0x05FF, "Hebrew"),
    (0x0600, 0x077F, "Arabic"), (0x0E00, 0x0E7F, "Thai"), (0x1100, 0x11FF, "Hangul"), (0x1E00, 0x1EFF, "Latin"),
    (0x3040, 0x30FF, "Kana"), (0x3400, 0x9FFF, "Han"), (0xAC00, 0xD7AF, "Hangul"), (0xF900, 0xFAFF, "Han"),
    (0x20000, 0x3FFFF, "Han"),
)  # fmt: skip
# Letters of each alphabet from frequent to rare.
_RANKS: Final = {
    "Arabic": "ایيلمنرتبدهسعکكفقحجشخطصپذضزگغثژظچءئؤآأإةى",
    "Cyrillic": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёіїєґјљњћђџўѓќѕ",
    "Greek": "αοιετσνηυρπκμλωςίάόδέήγχθύφβώξζψϊΰϋΐ",
    "Hebrew": "יוהלארמתבשנדקחעםפכטזןגסצךףץ",
}
_RANK: Final = {letter: rank for letters in _RANKS.values() for rank, letter in enumerate(letters)}
_ALPHABETIC: Final = ("8859/5", "8859/6", "8859/7", "8859/8", "WINDOWS-1256", "WINDOWS-1251", "WINDOWS-1253")
_MUCH_BETTER: Final = 0.45

_EASTERN: Final = frozenset({"gb18030", "gbk", "gb2312", "big5", "big5hkscs", "euc_kr"})
_EAST: Final = frozenset({"Han", "Kana", "Hangul"})

# Letters beyond a-z of the languages that the single-byte sets were made for. Icelandic is left out on purpose: its
# letters stand where Turkish ones do in the sister set, and Turkish senders are the likelier ones.
_LATIN: Final = tuple(
    frozenset(letters)
    for letters in (
        "àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü", "àáâãçéêíóôõúü", "àèéìíîòóùú", "åäöæøéü", "ąćęłńóśźż",
        "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîșțşţ", "čćđšž", "çğıöşüâîû", "āčēģīķļņōŗšūž",
        "ąčęėįšųūž", "äõöüšž", "àċġħèìòùż", "çë", "àçèéíïòóúü", "âêîôûŵŷ",
    )
)  # fmt: skip
_GUESTS: Final = frozenset("äöüßé")
"""Letters that names everywhere carry."""

_REGIONS: Final = (
    frozenset("àáâãäåæçéèêëìíîïñòóôõöøœùúûüÿßš"),
    frozenset("ąćęłńóśźżáčďéěíňřšťúůýžäĺľôŕöőüűăâîșțşţđëçß"),
    frozenset("āčēģīķļņōŗšūžąęėįųõäöüåæøéß"),
    frozenset("çğıöşüâîûäéèêôß"),
    frozenset("àèéìíòóùúċġħżñçöüäßêâî"),
)
_CYRILLIC: Final = tuple(
    frozenset(letters)
    for letters in (
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "абвгдеёжзійклмнопрстуўфхцчшыьэюя",
        "абвгдђежзијклљмнњопрстћуфхцчџш", "абвгдѓежзѕијклљмнњопрстќуфхцчџш",
    )
)  # fmt: skip

# The most frequent Han characters, simplified and traditional, and the characters of frequent surnames and addresses.
_FREQUENT: Final = frozenset(
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都"
    "然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实"
    "回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听"
    "世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期"
    "叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色"
    "字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周保达办运武半候"
    "七必城父强步完革深区即求品士转量空甚众技轻程告江语英基派满式李息写呢识极令黄德收脸钱党倒未持取设始版双历越史商千片容研"
    "像找友孩站广改议形委早房音火际则首单据导影失拿网香似斯专石若兵弟谁校读志飞观争究包组造落视济喜离虽坏兴刘陈杨赵吴孙朱胡"
    "郭何罗郑梁谢宋唐冯于董萧曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田姜范方石姚谭廖邹熊陆郝孔崔康邱秦侯顾邵孟"
    "龙段雷钱汤黎常贺赖龚县镇街号室楼村省医病患测试育這個來說們為時會學對裡後國東車見長門問開關馬書張陳楊趙吳孫劉黃許鄭謝鄧"
    "蕭盧蔣葉閻餘譚鄒陸龍錢湯賴區縣鎮號樓醫測試"
)


def script(character: str) -> str:
    """The script of a letter, by block; "Other" where it is none of those that we meet."""
    code = ord(character)
    return next((name for low, high, name in _RANGES if low <= code <= high), "Other")


def contradiction(body: bytes, read_as: str) -> bool:
    """Whether bytes that were declared to be something else are UTF-8 beyond reasonable doubt.

    `read_as` is the text by the declaration. Two bytes may be valid UTF-8 by chance, whole names hardly ever: the
    UTF-8 reading must look like words, and be longer than a coincidence or make more sense than the declared one.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if suspicion(text, "utf-8"):
        return False
    return sum(not c.isascii() for c in text) > 2 or bool(suspicion(read_as, ""))


def suspicion(text: str, codec: str) -> str:
    """Why the text looks wrongly decoded: key words for the finding, or empty. Never changes anything."""
    if _C1.search(text):
        return "control characters"
    if _PRIVATE.search(text):
        return "private characters"
    if _INSIDE.search(text):
        return "signs inside words"
    if _FINALS.search(text):
        return "final letters inside words"
    words = [word for word in dict.fromkeys(_WORD.findall(text)) if not word.isascii()]
    for check, why in _WORD_CHECKS:
        if any(check(word) for word in words):
            return why
    if _signs(text):
        return "signs instead of letters"
    if not _one_region(words):
        return "letters of several regions"
    if not all(map(_one_language, _FIELD.split(text))):
        return "letters of several languages in a name"
    return _han(words, codec) if codec in _EASTERN else ""


def better_reading(body: bytes, text: str, codec: str) -> str:
    """The character set in which the bytes are much likelier letters than in the declared one; empty if none.

    Only for alphabets that share their bytes: Cyrillic, Greek, Hebrew, Arabic. Short texts are not judged.
    """
    own = _likelihood(text)
    if own is None:
        return ""
    for name in _ALPHABETIC:
        known = charset(name)
        if known is None or known.codec == codec:
            continue
        try:
            other = body.decode(known.codec)
        except UnicodeDecodeError:
            continue
        likelihood = _likelihood(other)
        if likelihood is not None and likelihood > own + _MUCH_BETTER and not suspicion(other, known.codec):
            return name
    return ""


def _likelihood(text: str) -> float | None:
    """Mean logarithm of how likely each letter beyond ASCII is in its alphabet; None for fewer than four letters."""
    beyond = [c for c in text if not c.isascii() and not c.isspace()]
    if sum(c.lower() in _RANK for c in beyond) < 4:
        return None
    return sum(-math.log(_RANK.get(c.lower(), 120) + 3) for c in beyond) / len(beyond)


# --- one word ----------------------------------------


def _mixed(word: str) -> bool:
    scripts = {script(c) for c in word}
    return len(scripts - _EAST) + bool(scripts & _EAST) > 1


def _odd_case(word: str) -> bool:
    pairs = pairwise(word)
    return any(a.islower() and b.isupper() and not (a.isascii() and b.isascii()) for a, b in pairs)


def _no_alphabet(word: str) -> bool:
    """A word whose letters no one language has."""
    extra = {c for c in word.lower() if not c.isascii() and c != "\u0307"}
    kind = script(next(iter(extra))) if extra else ""
    if kind == "Cyrillic":
        return not any(extra <= alphabet for alphabet in _CYRILLIC)
    return kind == "Latin" and not any(extra <= alphabet for alphabet in _LATIN)


def _accents(word: str) -> bool:
    """A Greek word in small letters has one accent, a Hebrew one read as Greek has none or several."""
    if len(word) < 4 or script(word[-1]) != "Greek" or not word[1:].islower():
        return False
    return sum("\u0301" in unicodedata.normalize("NFD", c) for c in word) != 1


_WORD_CHECKS: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (_mixed, "scripts mixed in a word"),
    (_odd_case, "capitals inside words"),
    (_no_alphabet, "letters of several languages in a word"),
    (_accents, "accents that Greek words do not have"),
)


# --- all words ----------------------------------------


def _one_region(words: list[str]) -> bool:
    extra = {c for word in words for c in word.lower() if not c.isascii() and script(c) == "Latin"}
    return any(extra <= region for region in _REGIONS) if extra else True


def _one_language(field: str) -> bool:
    """Whether some language has all accented Latin letters of a name; more than a name is not judged."""
    if field.isascii() or len(field) > 80:
        return True
    extra = {c for c in field.lower() if "ß" <= c <= "ɏ"} - _GUESTS - set("×÷")
    return not extra or any(extra <= alphabet for alphabet in _LATIN)


def _signs(text: str) -> bool:
    other = [c for c in text if not c.isascii()]
    signs = sum(unicodedata.category(c)[0] in "SPN" and c not in "،؛؟。、，：；（）《》「」" for c in other)
    return signs >= 3 and signs * 3 > len(other)


def _han(words: list[str], codec: str) -> str:
    """Han text that is rare throughout, or mixed with other scripts, was probably another encoding."""
    scripts = [{script(c) for c in word} for word in words]
    han = [c for c in dict.fromkeys("".join(words)) if script(c) == "Han"]
    if codec == "euc_kr":
        hangul = sum(script(c) == "Hangul" for word in words for c in word)
        strange = not hangul and not any(c in _FREQUENT for c in han)
        return "scripts mixed in a word" if han and (strange or any(len(each) > 1 for each in scripts)) else ""
    if any({"Han", "Kana"} <= each for each in scripts):
        return "scripts mixed in a word"
    if len(han) >= 3 and sum(_second_level(c, codec) for c in han) * 2 > len(han):
        return "rare characters"
    frequent = sum(c in _FREQUENT for c in han)
    if len(han) >= 6 and frequent * 10 <= len(han):
        return "rare characters"
    return "all Korean in KS X 1001" if len(han) >= 3 and not frequent and _korean(han, codec) else ""


def _korean(han: list[str], codec: str) -> bool:
    """Whether the bytes of Chinese characters that nobody uses are Korean syllables throughout."""
    try:
        other = "".join(han).encode(codec).decode("euc_kr")
    except UnicodeError:
        return False
    return all(script(c) == "Hangul" for c in other)


def _second_level(character: str, codec: str) -> bool:
    """Whether it is outside the everyday half of its encoding: the second plane of GB 2312 or Big5, or neither."""
    for everyday, first in (("gb2312", 0xD8), ("big5", 0xC9)):
        if _encodes(character, everyday) and (everyday == codec or not codec.startswith("big5")):
            return character.encode(everyday)[0] >= first
    return True


def _encodes(character: str, codec: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
