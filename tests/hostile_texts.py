"""What a hostile user or file says. HOSTILE_EXAMPLES sets how many of each; a seed is fixed."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "8"))
bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

MARKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<b>bold</b>",
    "[click](javascript:alert(1))",
    "![x](http://127.0.0.1/x.png)",
    "**bold** _it_ `code` ~~no~~",
    "$x^2$ :material/bomb: :red[x]",
    "# heading\n\n---\n1. one\n- two\n\ttab",
    "text\n====",
    "../../../../etc/passwd",
    "/dev/zero",
    "C:\\x",
    "file:///etc/passwd",
    "\x00",
    "\x1b[31m\x1b]0;owned\x07",
    "\u202egnp.exe\u2066",
    "\ud800",
    "\ufeff",
    "[CLS] [SEP] [MASK] <s> </s> <|endoftext|>",
    "{{7*7}} ${HOME} $(id) `id` ; rm -rf x",
    "' OR 1=1 --",
    "=1+1",
    "-rf",
    "--store=/etc",
    "nan",
    "1e400",
    "-1",
    "9" * 5000,
    "x" * 100_001,
    "\n" * 1000,
    "~".join("abc"),
    "",
    " ",
)
texts = st.one_of(
    st.sampled_from(MARKS),
    st.text(max_size=60),
    st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp", "So", "Mn")), max_size=20),
    st.lists(st.sampled_from(MARKS[:28]), min_size=2, max_size=4).map(" ".join),
)
