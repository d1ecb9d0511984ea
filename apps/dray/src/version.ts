import manifest from "../package.json" with { type: "json" };

/** The version of this program, from its manifest. */
export function programVersion(): string {
  return manifest.version;
}
