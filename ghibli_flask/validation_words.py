"""What is said of a field that the declarations of `schemas` refuse, in sentences of ours instead of pydantic's."""

from __future__ import annotations

from collections.abc import Mapping

from ghibli_flask.errors import FieldError, _

_WHOLE_NUMBER = _("This must be a whole number.")
_NUMBER = _("This must be a number.")
_YES_OR_NO = _("This must be true or false.")
_OTHER_FORM = _("This does not have the form that is expected here.")

SENTENCES = {
    "missing": _("This field is needed."),
    "string_too_long": _("This must have at most %(max_length)s characters."),
    "string_too_short": _("This must have at least %(min_length)s characters."),
    "string_type": _("This must be a text."),
    "greater_than_equal": _("This must be %(ge)s or more."),
    "less_than_equal": _("This must be %(le)s or less."),
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _YES_OR_NO,
    "bool_parsing": _YES_OR_NO,
    "enum": _("This must be one of: %(expected)s."),
    "literal_error": _("This must be one of: %(expected)s."),
}
"""By pydantic's type of error (https://docs.pydantic.dev/latest/errors/validation_errors/); parameters by its names."""


def refused_field(name: str, error_type: str, context: Mapping[str, object]) -> FieldError:
    """The refusal of the field `name`; any other type of error is told as a wrong form."""
    params = dict(context)
    if "expected" in params:
        params["expected"] = str(params["expected"]).replace(" or ", ", ")
    return FieldError(name, SENTENCES.get(error_type, _OTHER_FORM), params)
