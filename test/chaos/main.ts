/** `npm run chaos`: see `npm run chaos -- --help`. */
import { chaosCommand } from "../../src/chaos/command.ts";

process.exitCode = await chaosCommand(process.argv.slice(2), {
  line: (text) => console.log(text),
  error: (text) => console.error(text),
  name: "npm run chaos --",
});
