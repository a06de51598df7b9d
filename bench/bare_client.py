"""gradio_client alone, in a process of its own: `bare_client.py URL`, started by `bench.cases.rivals`.

Reads the path of a photograph from each line of its input, has it painted, and answers with the seconds that it took,
the result downloaded.
"""

import sys
import time

from gradio_client import Client, handle_file


def main() -> None:
    """Paint one photograph after the other."""
    client = Client(sys.argv[1], token=False, verbose=False, analytics_enabled=False)
    for line in sys.stdin:
        began = time.perf_counter()
        client.predict(
            prompt="bare",
            spatial_img=handle_file(line.strip()),
            height=688,
            width=1024,
            seed=42,
            control_type="Ghibli",
            use_zero_init=False,
            zero_steps=1,
            api_name="/single_condition_generate_image",
        )
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
