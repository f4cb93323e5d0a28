"""The sample configuration is what the options say."""

from pathlib import Path

from oslo_config import generator

SAMPLE = Path(__file__).parents[2] / "etc" / "corral" / "corral-conductor.conf.sample"


def test_the_sample_is_what_the_generator_makes_of_the_options(tmp_path: Path) -> None:
    made = tmp_path / "sample"
    generator.main(["--namespace", "corral", "--output-file", str(made)])
    assert SAMPLE.read_text() == made.read_text()
