from devpocket.settings import load_settings
from devpocket.settings.load import all_settings
from devpocket.settings.reference import EXAMPLE, PAGE, example, page


def test_the_written_reference_is_that_of_the_source():
    hint = "run: python -m devpocket.settings.reference"
    assert PAGE.read_text(encoding="utf-8") == page(), hint
    assert EXAMPLE.read_text(encoding="utf-8") == example(), hint


def test_every_setting_is_explained():
    written = page()
    for _, _, source in all_settings():
        assert f"### `{source.name}`" in written


def test_the_example_with_every_default_taken_is_the_default(tmp_path):
    dotenv = tmp_path / ".env"
    lines = [
        line.removeprefix("#") if "=" in line and not line.startswith("# ") else line for line in example().splitlines()
    ]
    dotenv.write_text("\n".join(line for line in lines if not line.startswith("DATABASE_URL=")))
    assert load_settings({}, dotenv) == load_settings({})
