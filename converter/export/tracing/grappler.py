"""TensorFlow's graph optimizer (grappler), without allocating the weights outside the graph.

Grappler feeds every placeholder with a tensor of its full shape. For the weights outside the
graph, that would be another copy of the model, so they are hidden from it as a different operator
without inputs, which it leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_HIDDEN = "ImmutableConst"
_REGION = "memory_region_name"


def inlined(graph_def: Any, *, fetch: Sequence[str], hidden: Iterable[str]) -> Any:
    """Replace all function calls by the bodies of the functions.

    ``fetch`` are the tensors to keep, ``hidden`` names of placeholders that grappler must not
    feed. ``graph_def`` is changed. Loops and branches stay operators.
    """
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
    from tensorflow.python.framework.convert_to_constants import disable_lower_using_switch_merge

    graph_def = disable_lower_using_switch_merge(graph_def)
    for function in graph_def.library.function:
        # An alternative implementation for GPUs, which would prevent inlining of this one.
        function.attr.pop("api_implements", None)
    config = config_pb2.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.min_graph_nodes = -1
    rewrites.optimizers[:] = ["function"]
    rewrites.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    return _optimized(graph_def, config, fetch, set(hidden))


def simplified(graph_def: Any, *, fetch: Sequence[str], hidden: Iterable[str]) -> Any:
    """Fold constants, inline remaining calls and drop unused nodes; takes ``inlined``'s arguments.

    Fake quantization of constants stays, because the user put it there on purpose.
    """
    from tensorflow.core.protobuf import config_pb2

    # Keras compiles some layers with XLA (grouped convolutions): a compiled call is opaque, and
    # TensorFlow does not allow inlining it.
    nested = (n for function in graph_def.library.function for n in function.node_def)
    for holder in (*graph_def.library.function, *graph_def.node, *nested):
        holder.attr.pop("_XlaMustCompile", None)
        holder.attr.pop("_noinline", None)
    config = config_pb2.ConfigProto()
    config.graph_options.infer_shapes = True
    rewrites = config.graph_options.rewrite_options
    rewrites.optimizers[:] = ["constfold", "function", "dependency"]
    rewrites.meta_optimizer_iterations = 2
    rewrites.experimental_disable_folding_quantization_emulation = True
    return _optimized(graph_def, config, fetch, set(hidden))


def _optimized(graph_def: Any, config: Any, fetch: Sequence[str], hidden: set[str]) -> Any:
    import tensorflow as tf
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    for node in graph_def.node:
        if node.op == "Placeholder" and node.name in hidden:
            node.op = _HIDDEN
            node.attr[_REGION].s = b"kilnx"
    with tf.Graph().as_default():
        meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph_def)
    fetched = meta_graph_pb2.CollectionDef()
    fetched.node_list.value.extend(fetch)
    meta_graph.collection_def["train_op"].CopyFrom(fetched)
    optimized = tf_optimizer.OptimizeGraph(config, meta_graph)
    for node in optimized.node:
        if node.op == _HIDDEN and node.name in hidden:
            node.op = "Placeholder"
            node.attr.pop(_REGION, None)
    return optimized
