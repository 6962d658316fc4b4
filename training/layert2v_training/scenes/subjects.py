"""Subjects by code point and backgrounds by file, which the shipped model learns to draw.

Sprites are static Fluent 3D emoji (MIT). Backgrounds are public-domain and CC0 photographs of
GCompris and CC0 panoramas of pmndrs and Blender. `assets.py` fetches and checks them.
"""

from enum import StrEnum

SUBJECTS: dict[str, str] = {
    "1f415": "a dog",
    "1f408": "a cat",
    "1f98a": "a fox",
    "1f981": "a lion",
    "1f405": "a tiger",
    "1f418": "an elephant",
    "1f992": "a giraffe",
    "1f993": "a zebra",
    "1f40e": "a horse",
    "1f404": "a cow",
    "1f416": "a pig",
    "1f411": "a sheep",
    "1f407": "a rabbit",
    "1f43b": "a bear",
    "1f43c": "a panda",
    "1f412": "a monkey",
    "1f414": "a chicken",
    "1f986": "a duck",
    "1f427": "a penguin",
    "1f989": "an owl",
    "1f99c": "a parrot",
    "1f9a9": "a flamingo",
    "1f438": "a frog",
    "1f422": "a turtle",
    "1f40a": "a crocodile",
    "1f40d": "a snake",
    "1f433": "a whale",
    "1f42c": "a dolphin",
    "1f420": "a tropical fish",
    "1f419": "an octopus",
    "1f980": "a crab",
    "1f98b": "a butterfly",
    "1f41d": "a bee",
    "1f41e": "a ladybug",
    "1f40c": "a snail",
    "1f996": "a dinosaur",
    "1f984": "a unicorn",
    "1f409": "a dragon",
    "1f42a": "a camel",
    "1f697": "a red car",
    "1f68c": "a bus",
    "1f69a": "a truck",
    "1f69c": "a tractor",
    "1f6b2": "a bicycle",
    "1f682": "a train",
    "2708-fe0f": "an airplane",
    "1f681": "a helicopter",
    "1f680": "a rocket",
    "26f5": "a sailboat",
    "1f6a2": "a ship",
    "1f692": "a fire engine",
    "1f695": "a taxi",
    "1f6f8": "a flying saucer",
    "1f34e": "a red apple",
    "1f34c": "a banana",
    "1f34d": "a pineapple",
    "1f353": "a strawberry",
    "1f349": "a watermelon",
    "1f355": "a pizza",
    "1f354": "a hamburger",
    "1f366": "an ice cream",
    "1f382": "a birthday cake",
    "1f388": "a red balloon",
    "26bd": "a soccer ball",
    "1f3c0": "a basketball",
    "1f3b8": "a guitar",
    "1f916": "a robot",
    "1f47b": "a ghost",
    "26c4": "a snowman",
    "1f383": "a pumpkin",
    "1f333": "a tree",
    "1f335": "a cactus",
    "1f33b": "a sunflower",
    "1f344": "a mushroom",
    "2614": "an umbrella",
    "23f0": "an alarm clock",
    "1f381": "a gift box",
    "1f4a1": "a light bulb",
    "1f451": "a golden crown",
    "1f48e": "a blue gem",
    "2b50": "a yellow star",
    "1f30d": "a globe",
}
"""Fluent 3D file name (code points) to caption, as it is said in prompts."""

PHOTOGRAPHS: dict[str, str] = {
    "explore_monuments/redPyramid": "a pyramid in the desert",
    "explore_monuments/chateaudeChambord": "a castle behind a green lawn",
    "explore_monuments/chateaudeChenonceau": "a castle over a river",
    "explore_monuments/eiffelTower": "the Eiffel Tower",
    "explore_monuments/montStMichel": "an abbey on an island",
    "explore_monuments/pontduGard": "a Roman aqueduct",
    "explore_monuments/brandenburgGate": "a monumental gate at dusk",
    "explore_monuments/neuschwansteinCastle": "a white castle in the mountains",
    "explore_monuments/canyondeChelly": "a red canyon with a river",
    "explore_monuments/lincolnMemorial": "a temple with columns at night",
    "explore_monuments/mountRushmore": "a grey cliff with carved faces",
    "explore_monuments/navajo": "an orange rock wall",
    "explore_monuments/statueofLiberty": "the Statue of Liberty",
    "explore_monuments/colosseum": "the Colosseum",
    "explore_monuments/greatWallofChina": "green hills with a long wall",
    "explore_monuments/machuPicchu": "mountain ruins",
    "explore_monuments/petra": "a temple carved in rock",
    "explore_monuments/goldenTemple": "a golden temple on a lake",
    "explore_monuments/hawaMahal": "a pink palace",
    "explore_monuments/gatewayofIndia": "a glowing gate at night",
    "categorization/windmill": "a windmill under a blue sky",
    "categorization/windmill13": "windmills by a river",
    "categorization/windmill3": "white windmills",
    "categorization/dam1": "a dam with rushing water",
    "categorization/dam3": "a lake with a dam",
    "categorization/geothermal": "a steaming blue lake",
    "categorization/solar4": "solar panels",
}
"""GCompris resource and file stem to caption; each is PD or CC0 by the README beside it."""

PANORAMAS: dict[str, str] = {
    "pmndrs/apartment": "an empty room",
    "pmndrs/city": "a city square with towers",
    "pmndrs/dawn": "a rocky desert at dawn",
    "pmndrs/hall": "a ballroom",
    "pmndrs/lab": "a green laboratory",
    "pmndrs/lobby": "a bright lobby",
    "pmndrs/park": "a green meadow",
    "pmndrs/sky": "clouds over a calm sea",
    "pmndrs/venice": "a harbour promenade in the evening",
    "pmndrs/warehouse": "a warehouse",
    "pmndrs/workshop": "a factory hall",
    "pmndrs/forest": "a pine forest",
    "blender/courtyard": "a courtyard",
    "blender/forest": "a forest path",
    "blender/interior": "a hotel room",
    "blender/night": "a dark field at night",
    "blender/studio": "a photo studio",
    "blender/sunrise": "a meadow at sunrise",
    "blender/sunset": "a waterfront at sunset",
}
"""Package and panorama name to caption; all CC0."""

HELD_OUT_BACKGROUNDS = ("a Roman aqueduct", "a castle over a river", "a temple carved in rock")
"""Photographs no training clip shows. The VAE is judged on them."""


def is_held_out(subject: str, background: str) -> bool:
    """Tell whether a subject never meets a background in training (about one pair in ten)."""
    return sum(f"{subject}|{background}".encode()) % 10 == 0


CORE_SUBJECTS = (
    "a cat", "a fox", "a lion", "a tiger", "an elephant", "a cow", "a pig", "a rabbit", "a panda",
    "a penguin", "a frog", "a red car", "a tractor", "a sailboat", "a red balloon", "a robot",
    "a snowman", "a pumpkin", "a tree", "a soccer ball",
)  # fmt: skip
CORE_BACKGROUNDS = (
    "a pyramid in the desert", "a white castle in the mountains", "a red canyon with a river",
    "the Colosseum", "green hills with a long wall", "mountain ruins",
    "a windmill under a blue sky", "a green meadow", "clouds over a calm sea", "a pine forest",
    "a rocky desert at dawn", "a waterfront at sunset",
)  # fmt: skip
"""Subjects and backgrounds that a model learns in two hours of two CPU cores."""

WIDER_SUBJECTS = (
    *CORE_SUBJECTS, "a dog", "a zebra", "a giraffe", "a horse", "a bear", "a monkey", "a duck",
    "an owl", "a parrot", "a turtle", "an octopus", "a butterfly", "a dinosaur", "a unicorn",
    "a bus", "an airplane", "a rocket", "a guitar", "a ghost", "a cactus",
)  # fmt: skip
WIDER_BACKGROUNDS = (
    *CORE_BACKGROUNDS, "a castle behind a green lawn", "a golden temple on a lake",
    "a pink palace", "a steaming blue lake", "an empty room", "a city square with towers",
    "a ballroom", "a warehouse", "a forest path", "a meadow at sunrise",
    "a temple with columns at night", "a photo studio",
)  # fmt: skip
"""Twice as many, for a large GPU. All of them are for hours of one."""


class Variety(StrEnum):
    """Choices of subjects and backgrounds."""

    CORE = "core"
    WIDER = "wider"
    ALL = "all"
