"""Forebay's loader, timed like the others, for `cargo xtask bench`."""

import json

import forebay
import measure


def epochs(args):
    """A function that runs one epoch; the dataset is listed once, as a training job does."""
    loader = forebay.create_async_loader(
        forebay.create_dataset(args.folder, json.loads(args.dataset)),
        {
            "batch_size": args.batch_size,
            "shuffle": True,
            "seed": args.seed,
            "max_bytes_in_flight": args.max_bytes_in_flight,
        },
    )

    return measure.epochs_of(loader)


if __name__ == "__main__":
    parser = measure.arguments()
    parser.add_argument("--dataset", default="{}", help="options of the dataset, as JSON")
    arguments = parser.parse_args()
    measure.run(arguments, epochs(arguments))
