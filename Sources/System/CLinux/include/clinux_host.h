// What the doctor asks the kernel, and Swift cannot by itself. One call of C each; no logic.
#pragma once

/// Reads the state of the kernel's clock (adjtimex(2)): the clock state, or -1 with errno. `unsynchronized` is 1 where no time service
/// has set it lately.
int clinux_clock_state(int *unsynchronized);
