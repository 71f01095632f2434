import json, sys
from blake3 import blake3
import forebay

entries = [json.loads(line) for line in open(sys.argv[1] + ".manifest.jsonl")][1:]
expected = {entry["key"]: entry["blake3"] for entry in entries}
loader = forebay.create_async_loader(sys.argv[1], {"batch_size": 32, "shuffle": True, "seed": 1})
for epoch in range(2):
    seen = set()
    for batch in loader:
        for uri, sample in zip(batch.uris, batch):
            name = uri.rpartition("/")[2]
            assert blake3(sample).hexdigest() == expected[name], f"{uri} is not what was written"
            seen.add(name)
    assert seen == expected.keys(), f"{len(seen)} of {len(expected)} samples were delivered"
    print(f"epoch {epoch}: {len(seen)} samples, every byte as written")
