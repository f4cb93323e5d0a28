"""get_all_records_where: xapi's expressions, what they select and what is none."""


import pytest
from simulator_host import failure_of, one_host


@pytest.mark.parametrize("expression, names", [
    ('field "power_state" = "Running"', {"Control domain on host: h1"}),
    ('field "name__label" = "vm01"', {"vm01"}), ('"vm01" = field "name__label"', {"vm01"}),
    ('field "is_control_domain"="false" and field "name__label" = "vm02"', {"vm02"}),
    ('field "name__label" = "vm01" or field "name__label" = "vm02"', {"vm01", "vm02"}),
    ('not field "is_control_domain" = "true" and false', {"Control domain on host: h1", "vm01", "vm02"}),
    ('(not field "is_control_domain" = "true") and false', set()),
    ('true or false and false', set()), ("true", {"Control domain on host: h1", "vm01", "vm02"}), ("false", set()),
    ('field "memory__static_max" = "0"', set()), ('field "tags" = "()"\tand field "domid" = "-1"', {"vm01", "vm02"}),
])
def test_records_are_selected_by_xapis_expressions(expression: str, names: set[str]) -> None:
    found = one_host()("VM.get_all_records_where", expression)
    assert {record["name_label"] for record in found.values()} == names


@pytest.mark.parametrize("expression, why", [
    ("field power_state", 'Failure("lexing: empty token")'), ("nonsense", 'Failure("lexing: empty token")'),
    ("'a' = 'a'", 'Failure("lexing: empty token")'), ('"a"', "Stdlib.Parsing.Parse_error"),
    ("", "Stdlib.Parsing.Parse_error"), ("true true", "Stdlib.Parsing.Parse_error"),
    ("(true", "Stdlib.Parsing.Parse_error"), ('field "x" = and', "Stdlib.Parsing.Parse_error")])
def test_an_expression_that_is_none_is_refused(expression: str, why: str) -> None:
    assert failure_of(one_host(), "VM.get_all_records_where", expression) == ["INVALID_VALUE", expression, why]


def test_an_expression_about_a_field_that_is_not_there_fails() -> None:
    assert failure_of(one_host(), "VM.get_all_records_where", 'field "name_label" = "vm01"')[0] == "INTERNAL_ERROR"
