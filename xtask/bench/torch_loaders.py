"""Batches of files as tensors, by `forebay.torch.DataLoader` and by `torch.utils.data.DataLoader` with two
workers, for `cargo xtask bench loader`.

Ours first shows, unshuffled, that both hand over the same tensors.
"""

import forebay
import forebay.torch
import measure
import peers
import torch
import torch.utils.data

COMPARED = 8


def ours(args):
    paths = measure.files(args.folder)
    batches = iter(forebay.torch.DataLoader(args.folder, batch_size=args.batch_size))
    for number, batch in zip(range(COMPARED), batches):
        some = paths[number * args.batch_size : (number + 1) * args.batch_size]
        expected = torch.from_numpy(peers.read_into_one(some)).reshape(len(some), -1)
        if batch.dtype != expected.dtype or not torch.equal(batch, expected):
            raise SystemExit(f"batch {number} is not what PyTorch's DataLoader would hand over")
    generator = torch.Generator().manual_seed(args.seed)
    options = {"max_bytes_in_flight": args.max_bytes_in_flight}
    loader = forebay.torch.DataLoader(
        args.folder, batch_size=args.batch_size, shuffle=True, generator=generator, options=options
    )

    return measure.epochs_of(loader)


if __name__ == "__main__":
    parser = measure.arguments()
    parser.add_argument("loader", choices=["forebay", "torch2"])
    arguments = parser.parse_args()
    if arguments.loader == "forebay":
        measure.run(arguments, ours(arguments))
    else:
        measure.run(arguments, peers.torch_loader(arguments, measure.files(arguments.folder), 2))
