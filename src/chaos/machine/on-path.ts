/** Programs the machine may have. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Where a shell would find it; undefined where it would not. */
export function onPath(program: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
