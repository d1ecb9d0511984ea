/** The program as tests start it in processes of its own: the bundle that the test projects make before they start, as users and pods run it. */
import { createRequire } from "node:module";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const { programEntry: entryOf } = createRequire(import.meta.url)("../scripts/program.cjs") as { programEntry(root: string): string };

/** The file to give to Node. */
export const programEntry: string = entryOf(root);
