"""What is trained on, and how it is spread over clients."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from hybridsplit.scenarios.registered import OneOf, section_registry
from hybridsplit.scenarios.registry import Registry
from hybridsplit.scenarios.scores import SINGLE_LABEL
from hybridsplit.scenarios.sections.base import PositiveFloat, PositiveInt, Section
from hybridsplit.scenarios.sections.labels import ANY_LABELS, LabelColumns
from hybridsplit.scenarios.units import GIB, Bytes
from hybridsplit.scenarios.user_code import UserFunction


class Iid(Section):
    """Every client's samples are drawn from the same distribution."""

    scheme: Literal["iid"]


class Dirichlet(Section):
    """Each label's samples dealt in proportions drawn from Dirichlet(alpha · data shares), as in arXiv 2102.02079."""

    scheme: Literal["dirichlet"]
    alpha: PositiveFloat
    """Concentration: small values give each client few labels, large ones approach IID."""
    label_bins: Annotated[int, Field(ge=2, le=1000)] | None = None
    """For regression, which needs it: samples are dealt by their label's place in so many bins of equally many samples
    (by the first of several)."""


class ByKey(Section):
    """Samples that share a natural key (a writer, a role) stay together on one client."""

    scheme: Literal["by-key"]
    key: str
    """Name of the key: ``label``, or a column of the data that the source declares."""


Partition = Annotated[Iid | Dirichlet | ByKey, Field(discriminator="scheme")]


class DataSource(Section):
    """Where samples come from. A source of your own derives from one of the classes by kind of sample below.

    It states its keys as fields, ``source: Literal["its-name"]`` among them, and its facts as class variables.
    """

    loader: ClassVar[str]
    """What loads it, ``package.module:function``: called with this section and the scenario, it returns the samples
    (:class:`~hybridsplit.runtime.data.sources.Samples`) and the number of classes, 0 where the model states it; and as
    a third value how many samples at the end are the test set, where the data say so themselves."""
    tasks: ClassVar[tuple[str, ...]] = ()
    """Values of ``model.task`` that it has samples for."""
    problem_types: ClassVar[tuple[str, ...]] = (SINGLE_LABEL,)
    """Values of ``model.problem_type`` that its labels can be of."""
    file_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that name a file which must exist, relative to the scenario file."""
    folder_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that name a local folder, or something on a hub."""
    directory_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that name a folder which must exist, relative to the scenario file."""

    source: str
    """Which source."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the samples held out for the score: accuracy, macro F1 or R²."""
    partition: Partition = Iid(scheme="iid")
    """How samples are dealt to clients."""

    @property
    def natural_keys(self) -> tuple[str, ...]:
        """Keys that the ``by-key`` partition may name."""
        return ("label",)

    def named_paths(self) -> dict[str, str]:
        """Return what its files and folders are, by key."""
        keys = (*self.file_keys, *self.folder_keys, *self.directory_keys)
        named = {key: getattr(self, key) for key in keys}
        return {key: value for key, value in named.items() if value is not None}


class ImageSource(DataSource):
    """A source of images, for ``model.task: image-classification``."""

    tasks: ClassVar[tuple[str, ...]] = ("image-classification",)
    image_size: Annotated[int, Field(ge=8, le=1024)]
    """Side of the resized square image, pixels."""


class TextSource(DataSource):
    """A source of token sequences, for the tasks on text."""

    tasks: ClassVar[tuple[str, ...]] = ("sequence-classification", "causal-lm")
    is_padded: ClassVar[bool] = False
    """Whether sequences differ in length, so that an attention mask crosses the cut."""


class NumberSource(DataSource):
    """A source of samples that are numbers in one shape, for ``model.task: classification``."""

    tasks: ClassVar[tuple[str, ...]] = ("classification",)


def _source_name(section: type[DataSource]) -> str:
    names = get_args(section.model_fields["source"].annotation)
    if len(names) != 1 or not isinstance(names[0], str):
        raise TypeError('it needs a field source: Literal["its-name"]')
    if ":" not in getattr(section, "loader", ""):
        raise TypeError("its class needs a loader 'module:function'")
    return names[0]


DATA_SOURCES: Registry[Any] = section_registry(
    "data source", "hybridsplit.data_sources", (ImageSource, TextSource, NumberSource, DataSource), _source_name
)
"""Name to section class, in the order of messages."""


@DATA_SOURCES.register
class Digits(ImageSource):
    """The 1,797 handwritten digits that ship with scikit-learn, one channel, 8 x 8, upsampled."""

    loader: ClassVar[str] = "hybridsplit.runtime.data.sources:load_digits"
    source: Literal["digits"]
    image_size: Annotated[int, Field(ge=8, le=256)] = 16
    """Side of the upsampled square image, pixels."""


@DATA_SOURCES.register
class SyntheticTokens(TextSource):
    """Seeded token sequences whose label, or next token, follows from the tokens: there is something to learn."""

    loader: ClassVar[str] = "hybridsplit.runtime.data.sources:load_synthetic_tokens"
    source: Literal["synthetic-tokens"]
    num_samples: PositiveInt = 2048
    """Number of sequences."""


@DATA_SOURCES.register
class TextTable(LabelColumns, TextSource):
    """Sentences and labels from a CSV, TSV or Parquet file, tokenized with a local or hub tokenizer."""

    loader: ClassVar[str] = "hybridsplit.runtime.data.tables:load_text_table"
    is_padded: ClassVar[bool] = True
    file_keys: ClassVar[tuple[str, ...]] = ("path", "test_path")
    folder_keys: ClassVar[tuple[str, ...]] = ("tokenizer",)
    source: Literal["text-table"]
    path: str
    """The file, relative to the scenario file; ``.parquet``, ``.tsv`` (split at tabs), all else is split at commas. All
    of it is text."""
    test_path: str | None = None
    """A file of the test set, with the same columns; ``test_fraction`` of ``path`` is held out when absent."""
    tokenizer: str
    """A local folder or hub name for ``AutoTokenizer``."""
    text_column: str = "sentence"
    """Column that holds the text."""
    key_column: str | None = None
    """Column of the natural key for the ``by-key`` partition."""

    @property
    def natural_keys(self) -> tuple[str, ...]:
        """The label, and the key column if one is named."""
        return ("label",) if self.key_column is None else ("label", self.key_column)


@DATA_SOURCES.register
class ImageArchive(ImageSource):
    """Images and labels from an ``.npz`` file with the arrays ``images`` and ``labels``."""

    problem_types: ClassVar[tuple[str, ...]] = ANY_LABELS
    loader: ClassVar[str] = "hybridsplit.runtime.data.archives:load_image_archive"
    file_keys: ClassVar[tuple[str, ...]] = ("path",)
    source: Literal["image-archive"]
    path: str
    """The file, relative to the scenario file; ``images`` is [N, H, W] or [N, H, W, C], ``labels`` is [N]; or [N, K]:
    K numbers to predict, or 0 and 1 for each of K labels."""
    image_size: Annotated[int, Field(ge=8, le=1024)]
    """Side of the resized square image, pixels."""
    unpacked_limit_bytes: Bytes = 2 * GIB
    """Most memory that the arrays may take, unpacked and as resized images; checked before anything is unpacked."""


@DATA_SOURCES.register
class ImageFolder(ImageSource):
    """Image files in a folder a class; classes are numbered by the sorted names of their folders. Needs Pillow."""

    loader: ClassVar[str] = "hybridsplit.runtime.data.image_folders:load_image_folder"
    directory_keys: ClassVar[tuple[str, ...]] = ("path", "test_path")
    source: Literal["image-folder"]
    path: str
    """A folder with a folder of image files for each class, relative to the scenario file."""
    test_path: str | None = None
    """Such a folder of the test set; ``test_fraction`` of ``path`` is held out when absent."""
    channels: Literal[1, 3] | None = None
    """Grey (1) or colour (3). As many as the model reads when absent, and 3 for a model of your own."""
    unpacked_limit_bytes: Bytes = 2 * GIB
    """Most memory that the resized images may take; checked before any is read."""


@DATA_SOURCES.register
class NumberTable(LabelColumns, NumberSource):
    """Rows of numbers and a label from a CSV, TSV or Parquet file."""

    loader: ClassVar[str] = "hybridsplit.runtime.data.number_tables:load_number_table"
    file_keys: ClassVar[tuple[str, ...]] = ("path", "test_path")
    source: Literal["number-table"]
    path: str
    """The file, relative to the scenario file; ``.parquet``, ``.tsv`` (split at tabs), all else is split at commas."""
    test_path: str | None = None
    """A file of the test set, with the same columns; ``test_fraction`` of ``path`` is held out when absent."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns of numbers that the model reads, in this order; all but labels and key when absent."""
    key_column: str | None = None
    """Column of the natural key for the ``by-key`` partition."""
    standardise: bool = True
    """Whether each column is shifted and scaled to mean 0 and deviation 1 over the rows of ``path``."""

    @property
    def natural_keys(self) -> tuple[str, ...]:
        """The label, and the key column if one is named."""
        return ("label",) if self.key_column is None else ("label", self.key_column)


_ALL_TASKS = ("image-classification", "sequence-classification", "causal-lm", "classification")


@DATA_SOURCES.register
class SavedDataset(LabelColumns, DataSource):
    """A data set of the Hugging Face library ``datasets``, saved by ``save_to_disk``."""

    loader: ClassVar[str] = "hybridsplit.runtime.data.saved_datasets:load_saved_dataset"
    tasks: ClassVar[tuple[str, ...]] = _ALL_TASKS
    directory_keys: ClassVar[tuple[str, ...]] = ("path",)
    folder_keys: ClassVar[tuple[str, ...]] = ("tokenizer",)
    source: Literal["saved-dataset"]
    path: str
    """The folder, relative to the scenario file; of several splits, ``train`` and, if it is there, ``test``."""
    column: str | None = None
    """Column of the samples: text, images or numbers; ``text``, ``image`` or ``features`` when absent, by the task."""
    tokenizer: str | None = None
    """For the tasks on text, a local folder or hub name for ``AutoTokenizer``."""
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """For images, side of the resized square image, pixels."""


@DATA_SOURCES.register
class PythonData(DataSource):
    """Samples from a function or class of your own."""

    loader: ClassVar[str] = "hybridsplit.runtime.data.own_data:load_own_data"
    tasks: ClassVar[tuple[str, ...]] = _ALL_TASKS
    problem_types: ClassVar[tuple[str, ...]] = ANY_LABELS
    source: Literal["python"] = "python"
    """May be left out where ``python`` is stated."""
    python: str
    """A function or class that gives a ``torch.utils.data.Dataset``, or a pair of them to train and to test on:
    ``package.module:function`` or ``path/to/file.py:function``, relative to this file. It is run because it stands
    here; random numbers follow the seed."""
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Keyword arguments of ``python``."""

    @model_validator(mode="after")
    def _names_a_function(self) -> Self:
        UserFunction.parsed(self.python)
        return self


Data = Annotated[DataSource, OneOf(DATA_SOURCES, "source")]
"""One of the registered sources."""
