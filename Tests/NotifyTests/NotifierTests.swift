import Basis
import CLinux
import Glibc
import Linux
import Testing

@testable import Notify

private let quick: NotifyLimits = {
  var limits = NotifyLimits()
  limits.pause = .milliseconds(5)
  limits.longestPause = .milliseconds(20)
  limits.attempts = 4
  return limits
}()

private func json(_ number: Int) -> [UInt8] { Array("{\"seq\":\(number)}\n".utf8) }

private func webhook(_ server: Server, authorization: String? = nil, timeout: Duration = .seconds(10))
  -> NotificationTarget
{
  NotificationTarget(
    name: "hook",
    action: .webhook(.init(host: "127.0.0.1", port: server.port, target: "/roost?a=b", authorization: authorization)),
    timeout: timeout)
}

@Test func `a command reads each event from its standard input, in order`() throws {
  let folder = Folder()
  let script = folder.script("told", "cat >> \(folder.path)/out")
  let said = Said()
  let notifier = try Notifier([NotificationTarget(name: "log", action: .command([script]))], limits: quick) {
    said.add($0.text)
  }
  for number in 1...20 { notifier.tell("active", json(number)) }
  notifier.stop(within: .seconds(30))
  #expect(folder.lines("out") == (1...20).map { "{\"seq\":\($0)}" })
  #expect(said.all.isEmpty)
}

@Test func `who wants some kinds only is told of those only`() throws {
  let folder = Folder()
  let script = folder.script("told", "cat >> \(folder.path)/out")
  let notifier = try Notifier(
    [NotificationTarget(name: "log", action: .command([script]), kinds: ["fault"])], limits: quick
  ) { _ in }
  #expect(notifier.isWanted("fault"))
  #expect(!notifier.isWanted("active"))
  notifier.tell("active", json(1))
  notifier.tell("fault", json(2))
  notifier.stop(within: .seconds(30))
  #expect(folder.lines("out") == ["{\"seq\":2}"])
}

@Test func `a command that fails is run again, and the next event waits for it`() throws {
  let folder = Folder()
  let script = folder.script(
    "flaky",
    "echo x >> \(folder.path)/runs; test $(wc -l < \(folder.path)/runs) -ge 3 || { echo no luck >&2; exit 3; }; cat >> \(folder.path)/out"
  )
  let said = Said()
  let notifier = try Notifier([NotificationTarget(name: "log", action: .command([script]))], limits: quick) {
    said.add($0.text)
  }
  notifier.tell("active", json(1))
  notifier.tell("active", json(2))
  #expect(eventually { folder.lines("out").count == 2 })
  notifier.stop(within: .seconds(30))
  #expect(folder.lines("out") == ["{\"seq\":1}", "{\"seq\":2}"])
  #expect(said.all == ["log was not told yet: exit code 3: no luck; trying again"])
}

@Test func `a command that hangs is killed with all that it started, and does not hold up another target`() throws {
  let folder = Folder()
  let hanging = folder.script("hanging", "sleep 1000 & echo $! > \(folder.path)/child; wait")
  let other = folder.script("other", "cat >> \(folder.path)/out")
  let said = Said()
  var limits = quick
  limits.attempts = 1
  let notifier = try Notifier(
    [
      NotificationTarget(name: "slow", action: .command([hanging]), timeout: .milliseconds(500)),
      NotificationTarget(name: "other", action: .command([other])),
    ], limits: limits
  ) { said.add($0.text) }
  notifier.tell("active", json(1))
  #expect(eventually { folder.lines("out").count == 1 })
  #expect(eventually { said.all.count == 1 })
  #expect(said.all == ["slow was not told after 1 attempts: it took longer than 500 ms, and was killed"])
  let child = try #require(Int32(folder.lines("child").first ?? ""))
  // A zombie of init's is gone, too, for our purposes.
  #expect(eventually { kill(child, 0) != 0 || isZombie(child) })
  notifier.stop(within: .seconds(30))
}

private func isZombie(_ process: Int32) -> Bool {
  let file = open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return true }
  defer { close(file) }
  var bytes = [UInt8](repeating: 0, count: 512)
  let count = read(file, &bytes, bytes.count)
  return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).contains(") Z ")
}

@Test func `a program that isn't there is said`() {
  guard case .notStarted(let error) = Program.run(["/nowhere/x"], input: [], until: Clock.now() + .seconds(5)) else {
    Issue.record("it was started")
    return
  }
  #expect(error.code == ENOENT)
  #expect(
    Program.run(["/bin/sh", "-c", "kill -9 $$"], input: [], until: Clock.now() + .seconds(20)) == .killed(signal: 9))
  #expect(
    Program.run(["/bin/sh", "-c", "printf 'a\\n\\033[1mb'; exit 4"], input: [], until: Clock.now() + .seconds(20))
      == .ended(4, output: "a [1mb"))
}

@Test func `a webhook is a POST of the JSON`() throws {
  let server = Server(["HTTP/1.1 204 No Content\r\n\r\n"])
  defer { server.stop() }
  let notifier = try Notifier([webhook(server, authorization: "Bearer abc")], limits: quick) { _ in }
  for number in 1...5 { notifier.tell("active", json(number)) }
  #expect(eventually { server.heard.count == 5 })
  #expect(server.bodies == (1...5).map { "{\"seq\":\($0)}\n" })
  #expect(server.heard[0].hasPrefix("POST /roost?a=b HTTP/1.1\r\n"))
  #expect(server.heard[0].contains("Authorization: Bearer abc\r\n"))
  #expect(server.heard[0].contains("Host: 127.0.0.1:\(server.port)\r\n"))
  notifier.stop(within: .seconds(30))
}

@Test func `a webhook that is busy is asked again, one that says no is not`() throws {
  let server = Server([
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "nonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  ])
  defer { server.stop() }
  let said = Said()
  let notifier = try Notifier([webhook(server)], limits: quick) { said.add($0.text) }
  for number in 1...3 { notifier.tell("active", json(number)) }
  #expect(eventually { server.heard.count == 5 })
  #expect(server.bodies.map { $0.filter(\.isNumber) } == ["1", "1", "1", "2", "3"])
  #expect(eventually { said.all.count == 2 })
  #expect(said.all.last == "hook can't be told: 127.0.0.1 answered 403")
  notifier.stop(within: .seconds(30))
}

@Test func `a webhook that never answers costs its time-out, and what is too much is counted and told`() throws {
  let server = Server([nil, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
  defer { server.stop() }
  let said = Said()
  var limits = quick
  limits.waiting = 3
  limits.attempts = 1
  let notifier = try Notifier([webhook(server, timeout: .milliseconds(300))], limits: limits) { said.add($0.text) }
  notifier.tell("active", json(1))
  #expect(eventually { server.heard.count == 1 })
  for number in 2...8 { notifier.tell("active", json(number)) }
  #expect(eventually { server.heard.count == 4 })
  #expect(
    said.all.prefix(2) == [
      "hook was not told after 1 attempts: 127.0.0.1 did not answer in time",
      "5 events were not told to hook: more than 3 waited",
    ])
  #expect(server.bodies == ["{\"seq\":1}\n", "{\"kind\":\"dropped\",\"count\":5}", "{\"seq\":2}\n", "{\"seq\":3}\n"])
  notifier.stop(within: .seconds(30))
}

@Test func `nobody waits at the end for one that hangs`() throws {
  let server = Server([nil])
  defer { server.stop() }
  let notifier = try Notifier([webhook(server, timeout: .seconds(100))], limits: quick) { _ in }
  notifier.tell("stopping", json(1))
  #expect(eventually { server.heard.count == 1 })
  notifier.stop(within: .milliseconds(50))
}

@Test func `targets that stay keep what waits for them`() throws {
  let folder = Folder()
  let kept = NotificationTarget(
    name: "kept", action: .command([folder.script("kept", "sleep 0.2; cat >> \(folder.path)/kept.out")]))
  let gone = NotificationTarget(
    name: "gone", action: .command([folder.script("gone", "cat >> \(folder.path)/gone.out")]))
  let notifier = try Notifier([kept, gone], limits: quick) { _ in }
  for number in 1...3 { notifier.tell("active", json(number)) }
  try notifier.replace([kept])
  notifier.tell("active", json(4))
  notifier.stop(within: .seconds(30))
  #expect(folder.lines("kept.out").count == 4)
  #expect(!folder.text("gone.out").contains("4"))
}

@Test func `a program on a leash is killed with all that it started as soon as it is not wanted`() throws {
  let folder = Folder()
  let hanging = folder.script("hanging", "sleep 1000 & echo $! > \(folder.path)/child; wait")
  let leash = Leash(vip: nil) { folder.lines("child").isEmpty }
  #expect(Program.run([hanging], input: [], until: Clock.now() + .seconds(60), leash: leash) == .unwanted)
  let child = try #require(Int32(folder.lines("child").first ?? ""))
  #expect(eventually { kill(child, 0) != 0 || isZombie(child) })
  // By another's hand, before it is started.
  let cut = Leash(vip: nil) { true }
  cut.cut()
  #expect(Program.run([hanging], input: [], until: Clock.now() + .seconds(60), leash: cut) == .unwanted)
  // What it leaves behind when it ends by itself is ended, too.
  let leaving = folder.script("leaving", "sleep 1000 > /dev/null 2>&1 & echo $! > \(folder.path)/left; exit 0")
  let wanted = Leash(vip: nil) { true }
  #expect(
    Program.run([leaving], input: [], until: Clock.now() + .seconds(60), leash: wanted) == .ended(0, output: ""))
  let left = try #require(Int32(folder.lines("left").first ?? ""))
  #expect(eventually { kill(left, 0) != 0 || isZombie(left) })
}
