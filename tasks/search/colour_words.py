"""Colour words: which colours a text names.

Each language has words for the eleven basic colours, and people put these into texts. Words that also mean something
that has another colour are left out, such as `rose`; so are those that lie between two colours, such as `beige`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from lookalike.tasks.search.words.tokens import tokenise

_WORDS = {
    "black": "black negro negra negros negras nero nera neri preto preta pretos pretas noir noire noirs noires "
    "zwart zwarte czarny czarna czarne svart svarta 黑色 黑 黒色 黒 黒い",
    "white": "white blanco blanca blancos blancas bianco bianca bianchi bianche branco branca brancos brancas "
    "blanc blanche blancs blanches witte biały biała białe hvid hvit vit vita 白色 白 白い",
    "red": "red scarlet crimson burgundy rojo roja rojos rojas rosso rossa rossi rosse vermelho vermelha "
    "vermelhos vermelhas rouge rouges rood rode czerwony czerwona czerwone röd röda rød røde 红色 紅色 红 紅 赤色 "
    "赤 赤い",
    "green": "green emerald verde verdes verdi vert verte verts vertes groen groene zielony zielona zielone grön "
    "gröna grøn grønne 绿色 綠色 绿 綠 緑色 緑",
    "yellow": "yellow amarillo amarilla amarillos amarillas giallo gialla gialli gialle amarelo amarela amarelos "
    "amarelas jaune jaunes geel gele żółty żółta żółte gul gula 黄色 黃色 黄 黃",
    "blue": "blue navy azure azul azules azuis blu azzurro azzurra azzurri azzurre bleu bleue bleus bleues blauw "
    "blauwe niebieski niebieska niebieskie blå blåa 蓝色 藍色 蓝 藍 青色 青 青い",
    "brown": "brown marrón marrones marrone marroni marron castanho castanha castanhos castanhas brun brune bruns "
    "brunes bruin bruine brązowy brązowa brązowe 棕色 褐色 棕 褐 茶色",
    "purple": "purple violet lilac lavender mauve violett morado morada morados moradas púrpura roxo roxa roxos "
    "roxas violette violets violettes paars paarse fioletowy fioletowa fioletowe lila 紫色 紫",
    "pink": "pink magenta fuchsia rosa rosado rosada roze różowy różowa różowe 粉色 粉红 粉紅 桃色",
    "orange": "orange naranja naranjas anaranjado arancione arancioni laranja laranjas oranges oranje pomarańczowy "
    "pomarańczowa pomarańczowe 橙色 橘色 橙 橘",
    "grey": "grey gray silver gris grises grise grigio grigia grigi grigie cinza cinzento cinzenta grijs grijze "
    "szary szara szare grå gråa 灰色 灰",
}
_GERMAN = {
    "black": "schwarz",
    "white": "weiß",
    "red": "rot",
    "green": "grün",
    "yellow": "gelb",
    "blue": "blau",
    "brown": "braun",
    "purple": "violett",
    "grey": "grau",
}
_GERMAN_BEGINNINGS = ("", "hell", "dunkel")
_GERMAN_ENDINGS = ("", "e", "er", "es", "en", "em")


def _list_words() -> Iterator[tuple[str, str]]:
    """Yield each word, with the colour that it names."""
    for colour, words in _WORDS.items():
        yield from ((word, colour) for word in words.split())
    for colour, word in _GERMAN.items():
        for before, behind in product(_GERMAN_BEGINNINGS, _GERMAN_ENDINGS):
            yield f"{before}{word}{behind}", colour


COLOUR_WORDS: Mapping[str, str] = {token: colour for word, colour in _list_words() for token in tokenise(word)}
"""The colour that each word names, as `tokenise` writes the word."""


def find_colours(text: str) -> list[str]:
    """Return the colours that a text names, each once, in the order in which they come."""
    return list(dict.fromkeys(COLOUR_WORDS[word] for word in tokenise(text) if word in COLOUR_WORDS))
