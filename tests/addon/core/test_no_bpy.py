import subprocess
import sys


def test_importing_the_add_on_does_not_import_bpy():
    code = (
        "import sys, pkgutil, importlib, blender_addon, blender_addon.core as core\n"
        "for each in pkgutil.iter_modules(core.__path__):\n"
        "    importlib.import_module(f'blender_addon.core.{each.name}')\n"
        "sys.exit('bpy' in sys.modules or 'torch' in sys.modules)"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
