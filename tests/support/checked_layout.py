"""Panels drawn without a window, which Blender itself cannot do.

They are drawn into a layout that checks each call against this Blender's real layout.
"""

import types


class CheckedLayout:
    """Knows the functions and parameters of Blender's layout and notes labels and operators.

    As in Blender, all layouts of a panel share one `operator_context`, and a sentence beside
    buttons is cut.
    """

    def __init__(self, bpy, root=None, kind=""):
        self.__dict__.update(bpy=bpy, root=root or self, kind=kind, beside=set())
        if root is None:
            self.__dict__.update(notes=[], asking=set(), context="INVOKE_REGION_WIN")
        self.__dict__["notes"] = self.root.notes

    def __getattr__(self, name):
        functions = self.bpy.types.UILayout.bl_rna.functions
        assert name in functions, f"UILayout has no {name}"
        known = set(functions[name].parameters.keys())

        def call(*arguments, **named):
            unknown = set(named) - known
            assert not unknown, f"UILayout.{name} has no {unknown}"
            return self._note(name, arguments, named)

        return call

    def __setattr__(self, name, value):
        assert name in self.bpy.types.UILayout.bl_rna.properties, f"UILayout has no {name}"
        if name == "operator_context":
            self.root.__dict__["context"] = value

    def _note(self, name, arguments, named):
        self.beside.add(name)
        assert self.kind != "row" or not {"label", "operator"} <= self.beside, arguments or named
        if name == "operator":
            module, _, operator = arguments[0].partition(".")
            properties = getattr(getattr(self.bpy.ops, module), operator).get_rna_type().properties
            self.notes.append(arguments[0])
            if self.root.context.startswith("INVOKE"):
                self.root.asking.add(arguments[0])
            if arguments[0] == "layert2v.use_words":
                self.notes.append(named["text"])
            return CheckedOperator(set(properties.keys()))
        if name == "prop":
            assert arguments[1] in arguments[0].bl_rna.properties
        if name in ("menu", "label", "progress"):
            self.notes.append(named.get("text", ""))
        return CheckedLayout(self.bpy, self.root, name)


class CheckedOperator:
    def __init__(self, known):
        self.__dict__["known"] = known

    def __setattr__(self, name, value):
        assert name in self.known, f"the operator has no {name}"


def draw(bpy, name, **fields):
    """Draw a panel, menu, dialog (with `fields`) or the preferences. Give labels and operators."""
    return drawn_layout(bpy, name, **fields).notes


def drawn_layout(bpy, name, **fields):
    """Draw it. Give the layout with its notes, and the operators that ask first (`asking`)."""
    from blender_addon.ui import preferences

    drawn = (
        preferences.LAYERT2V_AP_preferences if name == "preferences" else getattr(bpy.types, name)
    )
    methods = {
        key: value
        for each in reversed(drawn.__mro__)
        for key, value in vars(each).items()
        if isinstance(value, types.FunctionType | staticmethod) and not key.startswith("__")
    }
    rna = drawn.bl_rna
    if "_OT_" in name:
        rna = getattr(bpy.ops.layert2v, name.partition("_OT_")[2]).get_rna_type()
    stand_in = type(name, (), {**methods, **fields, "bl_rna": rna})()
    stand_in.layout = CheckedLayout(bpy)
    stand_in.draw(bpy.context)
    return stand_in.layout
