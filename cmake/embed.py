#!/usr/bin/env python3
"""embed.py FOLDER OUTPUT: writes the files of a folder as the constants kIndexHtml, kAppJs, ... of app/server/chat_page.h."""
import re
import sys
from pathlib import Path

folder, output = map(Path, sys.argv[1:])
lines = ['#include "app/server/chat_page.h"\n\nnamespace packhorse::server::page {\n']
for path in sorted(folder.iterdir()):
    name = "k" + "".join(word.capitalize() for word in re.split(r"[._]", path.name))
    lines.append(f'const std::string_view {name} = R"page({path.read_text(encoding="utf-8")})page";\n')
output.write_text("\n".join([*lines, "}  // namespace packhorse::server::page\n"]), encoding="utf-8")
