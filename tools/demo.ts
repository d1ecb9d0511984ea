/** `npm run demo`: bundles the program first, which the forty or so processes of the demo gain back several times over, and runs the demo in this process. */
import { pathToFileURL } from "node:url";
import { ensureBundle, programSources } from "./bundle.ts";

const entry = await ensureBundle().catch((error: unknown) => {
  process.stderr.write(`The demo runs from the sources, which takes longer: ${error instanceof Error ? error.message : String(error)}\n`);
  return programSources;
});
process.argv.splice(1, 1, entry, "demo");
const program = (await import(pathToFileURL(entry).href)) as { main(): Promise<void> };
await program.main();
