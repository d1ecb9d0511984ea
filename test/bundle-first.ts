/** What the e2e and compat projects do first: bundle the program, unless these sources are bundled already. A bundle that cannot be made fails every test of theirs. */
import { ensureBundle } from "../tools/bundle.ts";

export async function setup(): Promise<void> {
  await ensureBundle();
}
