/** The licences of what is bundled: most of them ask to be handed on with the code. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const LICENCE_FILE = /^(licen[cs]e|copying|notice)([-.].*)?$/i;

/** One text with the licence of each package, by its folder. A package without a licence file is named with what its manifest says. Throws for one that says nothing. */
export function licencesOf(folders: readonly string[]): string {
  const seen = new Set<string>();
  const parts: string[] = [];
  for (const folder of folders) {
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { name?: string; version?: string; license?: string };
    const title = `${manifest.name} ${manifest.version}`;
    if (manifest.name === undefined || seen.has(title)) continue;
    seen.add(title);
    const files = readdirSync(folder).filter((name) => LICENCE_FILE.test(name) && existsSync(join(folder, name)));
    if (files.length === 0 && manifest.license === undefined) throw new Error(`Cannot hand on "${title}": it says nothing of a licence`);
    const texts = files.map((name) => readFileSync(join(folder, name), "utf8").trim());
    parts.push(`${title} (${manifest.license ?? "see below"})\n\n${texts.length === 0 ? "It brings no licence file." : texts.join("\n\n")}\n`);
  }
  return parts.sort().join(`\n${"-".repeat(80)}\n\n`);
}
