import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";

const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_dray() {
  local IFS=$'\\n' line
  COMPREPLY=()
  while read -r line; do
    [[ "$line" == :* ]] && continue
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(dray __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _dray dray
`,
  zsh: `#compdef dray
_dray() {
  local -a found
  local line
  while IFS= read -r line; do
    [[ "$line" == :* ]] && continue
    found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done < <(dray __complete "\${words[@]:1:$((CURRENT-1))}" 2>/dev/null)
  _describe 'dray' found
}
compdef _dray dray
`,
  fish: `complete -c dray -f -a '(dray __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null | string match -v ":*")'
`,
};

export function define(command: Command, terminal: Terminal): void {
  command.argument("<shell>", "bash, zsh or fish").action((shell: string) => {
    const script = SCRIPTS[shell];
    if (script === undefined) throw new DrayError("USAGE", `Cannot complete in "${shell}": bash, zsh or fish is wanted`);
    terminal.out(script);
  });
}
