"""Read the contents of the lookup tables that a traced model uses.

A table is a resource of the running TensorFlow, and the graph only refers to it. Its contents are
therefore read at once, and kept next to the graph under the table's shared name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtimes.base import Array

_USES = ("LookupTableFindV2", "LookupTableSizeV2")


def read_tables(function: Any, graph_def: Any) -> dict[str, tuple[Array, Array]]:
    """Read the tables that ``function`` captured and name them in its ``graph_def``, in place.

    Returns keys and values by the table's shared name in the changed ``graph_def``; strings are
    ``bytes``. Keys are sorted. A table without contents yet is empty.
    """
    import tensorflow as tf

    captured = {
        inner.op.name: outer
        for outer, inner in function.graph.captures
        if outer.dtype == tf.resource
    }
    types = _types_of_tables(graph_def)
    tables: dict[str, tuple[Array, Array]] = {}
    for node in graph_def.node:
        if node.op != "Placeholder" or node.name not in captured or node.name not in types:
            continue
        key, value = types[node.name]
        keys, values = tf.raw_ops.LookupTableExportV2(
            table_handle=captured[node.name], Tkeys=key, Tvalues=value
        )
        name = f"kilnx_table_{len(tables)}"
        # TensorFlow returns them in a different order in every process.
        order = np.argsort(keys.numpy(), kind="stable")
        tables[name] = (keys.numpy()[order], values.numpy()[order])
        node.op = "HashTableV2"
        node.ClearField("attr")
        node.attr["key_dtype"].type = key
        node.attr["value_dtype"].type = value
        node.attr["shared_name"].s = name.encode()
    return tables


def state_shapes(graph_def: Any) -> None:
    """Say in ``graph_def``, in place, that what is looked up has the shape of its keys.

    TensorFlow knows that of a table that it can see; without it the rank of all that follows
    a lookup is unknown. Of lookups behind each other, one more is known each time.
    """
    import tensorflow as tf

    lookups = [node for node in graph_def.node if node.op == "LookupTableFindV2"]
    stated = -1
    while stated != (stated := sum("_output_shapes" in node.attr for node in lookups)):
        if stated == len(lookups):
            return
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
        for node in lookups:
            keys = graph.get_operation_by_name(node.name).inputs[1].shape
            if keys.rank is not None:
                del node.attr["_output_shapes"].list.shape[:]
                node.attr["_output_shapes"].list.shape.append(keys.as_proto())


def _types_of_tables(graph_def: Any) -> dict[str, tuple[int, int]]:
    """Key and value types of each table, according to the operators that use it."""
    sources = {node.name: node.input[0] for node in graph_def.node if node.op == "Identity"}
    types: dict[str, tuple[int, int]] = {}
    for node in graph_def.node:
        if node.op not in _USES or "Tin" not in node.attr:
            continue
        table = node.input[0].split(":")[0]
        while table in sources:
            table = sources[table].split(":")[0]
        types[table] = node.attr["Tin"].type, node.attr["Tout"].type
    return types
