import sys

import forebay

loader = forebay.create_async_loader(sys.argv[1], {"batch_size": 32, "shuffle": True, "seed": 1})
for epoch in range(2):
    samples = size = 0
    for batch in loader:
        samples += len(batch)
        size += sum(len(sample) for sample in batch)
    print(f"epoch {epoch}: {samples} samples, {size / 2**20:.1f} MiB")
