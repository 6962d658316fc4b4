"""Every text of the user interface stands in ui_words.txt, so that a diff shows new wording.

Labels and tooltips come from the registered classes, drawn texts and messages from the source.
"""

import ast
import re
from pathlib import Path

GOLDEN = Path(__file__).with_name("ui_words.txt")
UI = Path(__file__).parents[3] / "blender_addon" / "ui"
SMALL_WORDS = {"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to"}
"""Words that Title Case leaves small, except the first and the last of a label."""


def registered_words(bpy):
    """Give the label and tooltip of every class, property and enum item by a dotted name."""
    from blender_addon import ui

    words = {}
    for each in ui._CLASSES:
        kind = each.__name__.split("_")[1]
        rna = each.bl_rna
        if kind == "OT":
            operator = getattr(bpy.ops.layert2v, each.bl_idname.partition(".")[2])
            rna = operator.get_rna_type()
            words[each.bl_idname] = (rna.name, rna.description)
        elif kind in ("PT", "MT"):
            words[each.__name__] = (each.bl_label, getattr(each, "bl_description", ""))
        for key in each.__annotations__ if kind not in ("PT", "MT") else ():
            value = rna.properties.get(key)
            if value is None or value.is_hidden:
                continue
            name = f"{each.bl_idname if kind == 'OT' else each.__name__}.{key}"
            words[name] = (value.name, value.description)
            for item in value.enum_items if value.type == "ENUM" else ():
                words[f"{name}.{item.identifier}"] = (item.name, item.description)
    return words


def drawn_words():
    """List texts in the source of `ui` that are neither docstrings nor part of a property."""
    found = set()
    for path in sorted(UI.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        left_out = set()
        for node in ast.walk(tree):
            is_statement = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if is_statement or isinstance(node, ast.AnnAssign):
                left_out |= set(ast.walk(node))
            if isinstance(node, ast.JoinedStr) and node not in left_out:
                found.add(ast.unparse(node)[2:-1])
                left_out |= set(ast.walk(node))
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("bl_"):
                left_out |= set(ast.walk(node))
            if isinstance(node, ast.Constant) and node not in left_out:
                found.add(node.value if isinstance(node.value, str) else "")
    return sorted(filter(is_words, found))


def is_words(text):
    fixed = re.sub(r"\{[^{}]*\}", "", text)
    is_name = re.fullmatch(r"[A-Z0-9_]*|[a-z0-9_.]*|LAYERT2V\w*", fixed)
    return is_name is None and re.search("[A-Za-z]", fixed) is not None


def written(words, drawn):
    lines = []
    for name, (label, tooltip) in sorted(words.items()):
        lines += [f"{name}", f"    {label}", f"    {tooltip or '-'}"]
    return "\n".join(
        [*lines, "", "Drawn and told:", *[f"    {text.strip()}" for text in drawn], ""]
    )


def is_title_case(label):
    words = label.split()
    return all(
        word[0].isupper() or not word[0].isalpha() or (word in SMALL_WORDS and 0 < at < last)
        for last in [len(words) - 1]
        for at, word in enumerate(words)
    )


def test_every_text_of_the_user_interface_stands_in_the_golden_file(bpy, tmp_path):
    text = written(registered_words(bpy), drawn_words())
    new = tmp_path / "ui_words.txt"
    new.write_text(text, encoding="utf-8")

    is_equal = GOLDEN.read_text(encoding="utf-8") == text

    assert is_equal, f"the words have changed: cp {new} {GOLDEN}, and read the diff"


def test_labels_are_in_title_case(bpy):
    for name, (label, _) in registered_words(bpy).items():
        assert label, f"{name} has no label"
        assert is_title_case(label), f"{name}: '{label}'"


def test_tooltips_are_sentences_without_the_full_stop_that_blender_adds(bpy):
    for name, (_, tooltip) in registered_words(bpy).items():
        if "_PT_" in name or "_MT_" in name:
            continue
        assert tooltip, f"{name} has no tooltip"
        assert tooltip[0].isupper(), f"{name}: '{tooltip}'"
        assert not tooltip.endswith("."), f"{name}: '{tooltip}'"


def test_title_case_is_told_from_sentence_case():
    assert is_title_case("Match Scene to Shot")
    assert not is_title_case("Fetch EXR masters")
    assert not is_title_case("to Shot")
