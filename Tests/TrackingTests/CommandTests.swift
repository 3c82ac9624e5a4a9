import Basis
import Glibc
import Linux
import Node
import Testing

@testable import Tracking

@Suite(.serialized) struct CommandTests {
  private func command(_ words: [String], every: Duration = .milliseconds(50), timeout: Duration = .seconds(5))
    -> TrackerTarget
  {
    TrackerTarget(.command(words, user: nil), every: every, timeout: timeout)
  }

  @Test func `exit 0 is good, another is bad with what was said first`() throws {
    try track([command(["true"]), command(["/bin/sh", "-c", "echo disk full; echo more; exit 3"])]) { _, reports in
      #expect(reports.become(0) { $0.isGood })
      #expect(reports.become(1) { $0 == .bad("/bin/sh exited with 3: disk full") })
    }
  }

  @Test func `its words are not given to a shell, and its environment is not ours`() throws {
    setenv("ROOST_SECRET", "x", 1)
    try track([
      command(["/bin/sh", "-c", #"[ "$1" = '$(reboot); *' ] && [ -z "$ROOST_SECRET" ]"#, "sh", "$(reboot); *"])
    ]) { _, reports in
      #expect(reports.become { $0.isGood })
    }
  }

  @Test(arguments: [["/no/such/program"], ["no-such-program"], ["/etc/passwd"], ["/"], [""], []])
  func `a command that can't be started is unknown, not bad`(words: [String]) throws {
    try track([command(words)]) { _, reports in
      #expect(reports.become { $0.isUnknown })
      #expect(!reports.of(0).contains { $0.isBad })
    }
  }

  @Test func `one that hangs and ignores SIGTERM is bad at its deadline, and gone with its children`() throws {
    try withFolder { folder in
      try #require(chmod(folder, 0o777) == 0)
      let script = """
        trap '' TERM INT HUP
        (trap '' TERM; echo $$ > /dev/null; sleep 600) &
        echo $! > \(folder)/child
        echo $$ > \(folder)/parent
        while :; do sleep 600; done
        """
      try track([command(["/bin/sh", "-c", script], every: .seconds(60), timeout: .milliseconds(500))]) { _, reports in
        let child = try #require(number(in: "\(folder)/child"))
        let parent = try #require(number(in: "\(folder)/parent"))
        #expect(lives(child))
        #expect(reports.become { $0.says("did not end within") || $0.isUnknown })
        #expect(eventually { !lives(child) && !lives(parent) })
      }
    }
  }

  @Test func `what a command leaves behind ends with it`() throws {
    try withFolder { folder in
      try #require(chmod(folder, 0o777) == 0)
      let script = "sleep 600 & echo $! > \(folder)/child; exit 0"
      try track([command(["/bin/sh", "-c", script], every: .seconds(60))]) { _, reports in
        #expect(reports.become { $0.isGood })
        let child = try #require(number(in: "\(folder)/child"))
        #expect(eventually { !lives(child) })
      }
    }
  }

  @Test func `one that floods its output is ended, and the others go on`() throws {
    try track([command(["/usr/bin/yes"], timeout: .seconds(60)), command(["true"])]) { _, reports in
      #expect(reports.become(0) { $0.says("more than") })
      let before = reports.of(1).count
      #expect(eventually { reports.of(1).count > before + 3 })
    }
  }

  @Test func `one is under way at most, however long it takes`() throws {
    try withFolder { folder in
      try #require(chmod(folder, 0o777) == 0)
      // A folder can be made once: a second one under way would fail.
      let script = "mkdir \(folder)/one && sleep 0.2 && rmdir \(folder)/one"
      try track([command(["/bin/sh", "-c", script], every: .milliseconds(10))]) { _, reports in
        #expect(eventually { reports.of(0).count >= 5 })
        #expect(reports.of(0).allSatisfy { $0.isGood })
      }
    }
  }

  @Test(.enabled(if: isRoot)) func `it runs as nobody unless a user is named, without groups and ways up`() throws {
    let asRoot = TrackerTarget(
      .command(["/bin/sh", "-c", "[ $(id -u) = 0 ]"], user: "root"), every: .milliseconds(50), timeout: .seconds(5))
    let nobody =
      #"[ $(id -un) = nobody ] && [ $(id -u) != 0 ] && ! id -G | grep -qw 0 && grep -q 'NoNewPrivs:.1' /proc/self/status"#
    let missing = TrackerTarget(.command(["true"], user: "no-such-user"), every: .milliseconds(50))
    try track([command(["/bin/sh", "-c", nobody]), asRoot, missing]) { _, reports in
      #expect(reports.become(0) { $0.isGood })
      #expect(reports.become(1) { $0.isGood })
      #expect(reports.become(2) { $0.isUnknown })
    }
  }

  @Test func `it inherits no descriptor and no blocked signal`() throws {
    let leak = open("/dev/null", O_RDONLY)
    defer { close(leak) }
    // 0 to 2, and the one with which ls reads the folder.
    let script = """
      open=$(ls /proc/self/fd | wc -l)
      blocked=$(grep SigBlk: /proc/self/status | cut -f2)
      ignored=$(grep SigIgn: /proc/self/status | cut -f2)
      echo $open $blocked $ignored
      [ "$open $blocked $ignored" = "4 0000000000000000 0000000000000000" ]
      """
    try track([command(["/bin/sh", "-c", script])]) { _, reports in
      #expect(reports.become { $0.isGood }, "\(reports.of(0))")
    }
  }

  @Test func `stop ends what is under way`() throws {
    try withFolder { folder in
      try #require(chmod(folder, 0o777) == 0)
      let reports = Reports()
      let script = "echo $$ > \(folder)/parent; sleep 600"
      let runner = try TrackerRunner([command(["/bin/sh", "-c", script], timeout: .seconds(600))]) {
        reports.add($0, $1)
      }
      let parent = try #require(number(in: "\(folder)/parent"))
      runner.stop()
      #expect(eventually { !lives(parent) })
      #expect(reports.of(0).isEmpty)
      runner.stop()
    }
  }
}
