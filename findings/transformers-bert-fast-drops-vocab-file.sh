#!/usr/bin/env bash
# transformers 5.23.0: BertTokenizerFast(vocab_file=PATH) takes the argument that it had for years, raises and warns
# nothing, and has no vocabulary but the five special tokens: every word becomes [UNK], also after save_pretrained. The
# argument is called "vocab" now, and takes the same path. A model trained on such ids sees texts of equal length as equal.
# Without the product; fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "transformers==5.23.0" "tokenizers==0.23.3" 2>/dev/null
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - 2>notes.txt <<'PY'
import transformers
from transformers import AutoTokenizer, BertTokenizerFast

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
with open("vocab.txt", "w") as file:
    file.write("\n".join(words))
by_old_name = BertTokenizerFast(vocab_file="vocab.txt")
by_new_name = BertTokenizerFast(vocab="vocab.txt")
by_old_name.save_pretrained("saved")
saved = AutoTokenizer.from_pretrained("saved")
old, new, again = (one("good bad film")["input_ids"] for one in (by_old_name, by_new_name, saved))
print(f"transformers {transformers.__version__}: vocab_file= gives {len(by_old_name)} tokens and {old}, saved {again}")
print(f"vocab= gives {len(by_new_name)} tokens and {new}")
assert (len(by_old_name), old, again) == (5, [2, 1, 1, 1, 3], [2, 1, 1, 1, 3])
assert (len(by_new_name), new) == (8, [2, 5, 6, 7, 3])
PY
cat notes.txt
test "$(grep -c vocab_file notes.txt)" = 0
