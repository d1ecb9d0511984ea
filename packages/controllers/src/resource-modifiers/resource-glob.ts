/**
 * A glob over resources (`*.apps`, `{pods,deployments.apps}`): `*` is any run without a dot, `**` any run, `?` one character but a dot, `[a-c]` and `[!a]` one of a set, `{a,b}` one of
 * several, `\` takes the next as it is. Throws for what is not closed.
 */
export function compileResourceGlob(pattern: string): (groupResource: string) => boolean {
  let source = "";
  let depth = 0;
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern.charAt(at);
    if (char === "*") {
      const any = pattern[at + 1] === "*";
      source += any ? ".*" : "[^.]*";
      if (any) at++;
    } else if (char === "?") source += "[^.]";
    else if (char === "[") {
      const end = pattern.indexOf("]", at + 2);
      if (end < 0) throw new Error(`"${pattern}" has a bracket that is not closed`);
      const set = pattern.slice(at + 1, end);
      const negated = set.startsWith("!");
      source += `[${negated ? "^" : ""}${(negated ? set.slice(1) : set).replace(/[\\^\]]/g, "\\$&")}]`;
      at = end;
    } else if (char === "{") {
      source += "(?:";
      depth++;
    } else if (char === "}" && depth > 0) {
      source += ")";
      depth--;
    } else if (char === "," && depth > 0) source += "|";
    else {
      if (char === "\\") at++;
      source += pattern.charAt(at).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    }
  }
  if (depth > 0) throw new Error(`"${pattern}" has a brace that is not closed`);
  const expression = new RegExp(`^${source}$`, "s");
  return (groupResource) => expression.test(groupResource);
}
