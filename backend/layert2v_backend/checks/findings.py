"""What is wrong with a request, collected to be said all at once."""

from layert2v_backend.errors import FieldViolation, InvalidShot, Refused


class Findings:
    """Collects violations; those of one kind keep it, mixed ones are an invalid shot."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []
        self._kind: type[Refused] = InvalidShot

    def add(self, field: str, description: str, kind: type[Refused] = InvalidShot) -> None:
        """Note that a field is wrong.

        Args:
            field: Its path from the request.
            description: Value, limit and remedy.
            kind: What is raised if nothing else is wrong.
        """
        if not self._violations:
            self._kind = kind
        elif kind is not self._kind:
            self._kind = InvalidShot
        self._violations.append(FieldViolation(field, description))

    def raise_if_any(self) -> None:
        """Refuse the request if anything is wrong with it.

        Raises:
            Refused: Of the kind of the violations.
        """
        if self._violations:
            first, *rest = self._violations
            more = f" (and {len(rest)} more)" if rest else ""
            message = f"{first.field}: {first.description}{more}"
            raise self._kind(message, self._violations)
