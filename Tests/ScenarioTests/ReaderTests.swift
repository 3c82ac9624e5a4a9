import Basis
import Testing

@testable import Scenario

struct ReaderTests {
  @Test func `a story is read with its picture`() throws {
    let scenario = try Scenario(
      reading: """
        # mine: all goes wrong
        #
        #   client ── lb1 ── app1
        #

        nodes 3
        backends 2
        interval 50ms
        at 1s stop owner             # a comment
        at 1.5s kill backup
        at 2s stall all for 250ms
        at 2s node-dead lb3
        at 3s link-down lb1
        at 3s link-cut lb1
        at 4s partition lb1 | lb2 lb3
        at 4s partition owner | rest
        at 5s one-way lb1 -> lb2
        at 5s loss lb1 lb2 30%
        at 5s delay lb1->lb2 20ms
        at 6s start lb1
        at 6s restart lb2
        at 7s backend-kill app2
        at 8s backend-start app2
        at 9s heal
        until 10s
        expect owner lb2 within 1s of fault
        expect owner lb1 at end
        expect one owner at end
        expect outage below 3.5 intervals+30ms of node-dead
        expect never two owners for longer than 500ms
        expect no address on lb1 within 20ms of stop
        expect backend app2 down within 1s of backend-kill
        expect no connection broken
        expect no connection broken of heal
        expect failed requests below 3 of backend-kill
        expect no request failed of heal
        """, file: "somewhere/mine.scenario")
    #expect(scenario.name == "mine")
    #expect(scenario.title == "all goes wrong")
    #expect(scenario.drawing == ["  client ── lb1 ── app1"])
    #expect((scenario.nodes, scenario.backends) == (3, 2))
    #expect(scenario.interval == .milliseconds(50))
    #expect(scenario.end == .seconds(10))
    #expect(scenario.steps[0] == Step(at: .seconds(1), .stop(.owner), line: 9))
    #expect(
      scenario.steps.map(\.action) == [
        .stop(.owner), .kill(.backup), .stall(.all, for: .milliseconds(250)), .nodeDead(.node(2)), .linkDown(.node(0)),
        .linkCut(.node(0)), .partition([[.node(0)], [.node(1), .node(2)]]), .partition([[.owner], [.rest]]),
        .oneWay(from: .node(0), to: .node(1)), .loss(Path(from: .node(0), to: .node(1), bothWays: true), share: 0.3),
        .delay(Path(from: .node(0), to: .node(1), bothWays: false), by: .milliseconds(20)), .start(.node(0)),
        .restart(.node(1)), .backendKill(1), .backendStart(1), .heal,
      ])
    #expect(
      scenario.expectations.map(\.claim) == [
        .owner(.node(1), within: Span(.seconds(1)), of: .fault), .ownerAtEnd(.node(0)), .oneOwnerAtEnd,
        .outage(below: Span(.milliseconds(30), intervals: 3.5), of: .action("node-dead")),
        .twoOwners(atMost: Span(.milliseconds(500))),
        .noAddress(on: .node(0), within: Span(.milliseconds(20)), of: .action("stop")),
        .backend(1, isUp: false, within: Span(.seconds(1)), of: .action("backend-kill")), .noConnectionBroken(of: nil),
        .noConnectionBroken(of: .action("heal")), .failedRequests(below: 3, of: .action("backend-kill")),
        .failedRequests(below: 1, of: .action("heal")),
      ])
    #expect(Set(scenario.steps.map(\.action.word)) == Set(Reader.actions))
  }

  @Test func `every mistake is told at once, with its place and what to write instead`() throws {
    let text = """
      # mine: all goes wrong
      nodes 2
      at 2s     node-ded owner
      at 1ss    kill lb1
      at 3s     kill lb3
      at 4s     loss lb1 lb2 130%
      at 5s     heal now
      until 12s
      expect outage below 330 of heal
      expect owner lb2 within 1s of stop
      exept one owner at end
      """
    let mistakes = try #require(throws: Mistakes.self) { try Scenario(reading: text, file: "mine.scenario") }
    #expect(
      mistakes.description == """
        mine.scenario:3:11: error: nobody knows how to do `node-ded`
            at 2s     node-ded owner
                      ^~~~~~~~
            did you mean `node-dead`?
        mine.scenario:4:4: error: a time is a number with ms, s, m or h, up to 1000h
            at 1ss    kill lb1
               ^~~
            such as: 250ms, 1.5s, 2m
        mine.scenario:5:16: error: there is no lb3: the cluster has 2 nodes
            at 3s     kill lb3
                           ^~~
            raise the number behind `nodes`
        mine.scenario:6:24: error: a share of packets is 0% to 100%
            at 4s     loss lb1 lb2 130%
                                   ^~~~
            such as: 30%
        mine.scenario:7:16: error: nothing may follow here
            at 5s     heal now
                           ^~~
        mine.scenario:9:25: error: here stands a unit
            expect outage below 330 of heal
                                    ^~
            `330ms`, `330s`, or `330 intervals`
        mine.scenario:10:31: error: the story has no step that is a stop
            expect owner lb2 within 1s of stop
                                          ^~~~
        mine.scenario:11:1: error: no statement begins with `exept`
            exept one owner at end
            ^~~~~
            did you mean `expect`?
        """)
  }

  @Test(arguments: [
    ("", "the story has no title"),
    ("# a: b\n", "the story has no end"),
    ("# a: b\nuntil 1s\nuntil 2s", "said in line 2"),
    ("# a: b\nat 2s heal\nuntil 1s", "after the end"),
    ("# a: b\nat 2s heal\nat 1s heal\nuntil 5s", "goes back in time"),
    ("# a: b\nat 2s partition lb1 lb2\nuntil 5s", "two sides"),
    ("# a: b\nat 2s partition lb1 | lb1\nuntil 5s", "two groups"),
    ("# a: b\nat 2s kill rest\nuntil 5s", "`rest` means nothing"),
    ("# a: b\nat 2s stall lb1\nuntil 5s", "here stands `for`"),
    ("# a: b\nat 2s one-way lb1 lb2\nuntil 5s", "here stands `->`"),
    ("# a: b\nat 2s loss lb1 lb1 3%\nuntil 5s", "another node"),
    ("# a: b\nnodes 99999999999999999999\nuntil 5s", "1 to 32"),
    ("# a: b\ninterval 1ms\nuntil 5s", "10ms to 40.95s"),
    ("# a: b\nuntil 99999999999999999999h", "a time is a number"),
    ("# a: b\nat", "a time is a number"),
    ("# a: b\nat 1s", "something is missing"),
    ("# a: b\nexpect", "something is missing"),
  ])
  func `a wrong line is refused`(text: String, message: String) throws {
    let mistakes = try #require(throws: Mistakes.self) { try Scenario(reading: text, file: "x") }
    #expect(mistakes.description.contains(message), "\(mistakes)")
  }

  @Test func `bytes that are no text are refused`() {
    #expect(throws: Mistakes.self) { try Scenario(reading: [0xFF, 0xFE, 0x00] as [UInt8], file: "x") }
  }

  @Test func `random bytes and cut stories are read or refused, never a crash`() {
    var random = SplitMix64(seed: 1)
    for (_, text) in Scenario.builtInTexts {
      let bytes = Array(text.utf8)
      for _ in 0..<300 {
        var broken = bytes
        for _ in 0...random.next(below: 4) {
          broken[Int(random.next(below: UInt64(broken.count)))] = UInt8(truncatingIfNeeded: random.next(below: 128))
        }
        broken.removeLast(Int(random.next(below: UInt64(broken.count))))
        do { _ = try Scenario(reading: broken, file: "x") } catch { #expect(!error.description.isEmpty) }
      }
    }
  }
}
