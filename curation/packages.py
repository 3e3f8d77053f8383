"""Optional packages: whether one is installed, and the sentence that says how to install it."""

from importlib.util import find_spec

from storage.errors import MissingPackageError


class MayNeedPackages:
    """A method of which some settings need an optional package."""

    def check_packages(self, num_examples: int) -> None:
        """Refuse where a package is missing that so many examples need; a recipe's plan asks this first.

        Raises:
            MissingPackageError: one is not installed; the message says how to install it.
        """


def check_installed(module: str, needs: str, extra: str) -> None:
    """Refuse to go on without a package.

    Args:
        module: what is imported.
        needs: what needs which package, such as `kind = 'medoids' needs kmedoids`.
        extra: of tamis, which has the package.

    Raises:
        MissingPackageError: it is not installed.
    """
    if find_spec(module) is None:
        raise MissingPackageError(f"{needs}: pip install 'tamis[{extra}]'")


def check_usearch() -> None:
    """Refuse an approximate search for neighbours without usearch.

    Raises:
        MissingPackageError: it is not installed; the message names the exact search too.
    """
    needs = "an approximate search for neighbours (search = 'exact' compares all pairs instead) needs usearch"
    check_installed("usearch", needs, "neighbors")


def check_imbalanced_learn(method: str) -> None:
    """Refuse a rebalancer whose cleaning is imbalanced-learn's without that.

    Raises:
        MissingPackageError: it is not installed.
    """
    check_installed("imblearn", f"{method} needs imbalanced-learn", "rebalance")


def check_kmedoids() -> None:
    """Refuse medoids without kmedoids.

    Raises:
        MissingPackageError: it is not installed.
    """
    check_installed("kmedoids", "kind = 'medoids' needs kmedoids", "prototypes")
