"""One shot over several devices: the tokens of every stream are split among them."""

from diffusers import ContextParallelConfig

from layert2v_model.network.transformer import LayerT2VTransformer3DModel


def enable_context_parallel(transformer: LayerT2VTransformer3DModel, degree: int) -> None:
    """Split tokens over `degree` processes of the initialised process group.

    All of them must then call the transformer with equal inputs. Each gets the whole velocity.
    Attention exchanges heads for tokens (Ulysses), so no device ever holds all tokens of a block.
    The number of tokens and heads need not be divisible by `degree`. Enable a step cache before.

    Args:
        transformer: Changed in place. It cannot be undone.
        degree: Number of processes, from 2; at most the tokens of a stream and the heads.

    Raises:
        RuntimeError: There is no process group, or tokens are split already.
        ValueError: The degree is 1, or more than there are processes.
    """
    config = ContextParallelConfig(ulysses_degree=degree, ulysses_anything=True)
    transformer.enable_parallelism(config=config)
