import Glibc
import Lab

// The lab's small programs by themselves, for tests: `roost lab-helper` is the same.
exit(LabHelper.main(Array(CommandLine.arguments.dropFirst())))
