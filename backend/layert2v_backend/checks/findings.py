"""Collects the faults of a request, so that one refusal names all of them."""

from layert2v_backend.errors import FieldViolation, InvalidShot, Refused


class Findings:
    """Collects violations. If all are of one kind it raises that, otherwise an invalid shot."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []
        self._kind: type[Refused] = InvalidShot

    def add(self, field: str, description: str, kind: type[Refused] = InvalidShot) -> None:
        """Record that a field is wrong.

        Args:
            field: The field's path from the request.
            description: A sentence with the value, the limit and the remedy.
            kind: The error to raise if nothing else is wrong.
        """
        if not self._violations:
            self._kind = kind
        elif kind is not self._kind:
            self._kind = InvalidShot
        self._violations.append(FieldViolation(field, description))

    def raise_if_any(self) -> None:
        """Refuse the request if anything is wrong with it.

        Raises:
            Refused: Something is wrong. The error has the kind of the violations.
        """
        if self._violations:
            first, *rest = self._violations
            more = f" (and {len(rest)} more)" if rest else ""
            message = f"{first.field}: {first.description}{more}"
            raise self._kind(message, self._violations)
