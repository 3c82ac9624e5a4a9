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
        vips 4
        auth enforce
        peer-link on
        guardian on
        preempt off
        lease off
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
        at 9s kill-all lb1
        at 9s guardian-kill owner
        at 9s stall-all lb2 for 1s
        at 9s link-peers-cut
        at 9s move
        at 9s move to lb2
        at 9s standby lb1
        at 9s resume lb1
        at 9s reload all
        at 9s reload lb1 adding vip
        at 9s reload lb2 adding address
        at 9s upgrade owner
        at 9s rogue-advert priority 255 for 5s
        at 9s clock-jump lb1 by +2s
        at 9s clock-jump lb1 by -500ms
        at 9s address-removed
        at 9s rtnl-busy for 2s
        at 9s hog for 2s
        at 9s interface-renamed lb1
        at 9s interface-removed lb2
        at 9s interface-recreated lb2
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
        expect no connection fails of move
        expect nobody owns for longer than 2ms
        expect nobody owns for longer than 1 interval + 2ms of move
        expect same owner of reload
        expect quiet of reload
        """, file: "somewhere/mine.scenario")
    #expect(scenario.name == "mine")
    #expect(scenario.title == "all goes wrong")
    #expect(scenario.drawing == ["  client ── lb1 ── app1"])
    #expect((scenario.nodes, scenario.backends) == (3, 2))
    #expect(scenario.interval == .milliseconds(50))
    #expect(scenario.end == .seconds(10))
    #expect(scenario.steps[0] == Step(at: .seconds(1), .stop(.owner), line: 15))
    #expect(
      scenario.steps.map(\.action) == [
        .stop(.owner), .kill(.backup), .stall(.all, for: .milliseconds(250)), .nodeDead(.node(2)), .linkDown(.node(0)),
        .linkCut(.node(0)), .partition([[.node(0)], [.node(1), .node(2)]]), .partition([[.owner], [.rest]]),
        .oneWay(from: .node(0), to: .node(1)), .loss(Path(from: .node(0), to: .node(1), bothWays: true), share: 0.3),
        .delay(Path(from: .node(0), to: .node(1), bothWays: false), by: .milliseconds(20)), .start(.node(0)),
        .restart(.node(1)), .backendKill(1), .backendStart(1), .heal, .killAll(.node(0)), .guardianKill(.owner),
        .stallAll(.node(1), for: .seconds(1)), .linkPeersCut(.all), .move(to: nil), .move(to: .node(1)),
        .standby(.node(0)), .resume(.node(0)), .reload(.all, .nothing), .reload(.node(0), .vip),
        .reload(.node(1), .address), .upgrade(.owner), .rogueAdvert(priority: 255, for: .seconds(5)),
        .clockJump(.node(0), by: .seconds(2)), .clockJump(.node(0), by: .milliseconds(-500)), .addressRemoved(.owner),
        .rtnlBusy(for: .seconds(2)), .hog(for: .seconds(2)), .interfaceRenamed(.node(0)), .interfaceRemoved(.node(1)),
        .interfaceRecreated(.node(1)),
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
        .noConnectionFails(of: .action("move")), .nobody(atMost: Span(.milliseconds(2)), of: nil),
        .nobody(atMost: Span(.milliseconds(2), intervals: 1), of: .action("move")), .sameOwner(of: .action("reload")),
        .quiet(of: .action("reload")),
      ])
    var options = Scenario.Options()
    options.vips = 4
    options.authentication = .enforce
    options.preempt = false
    options.lease = nil
    #expect(scenario.options == options)
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
    ("# a: b\nvips 256\nuntil 5s", "1 to 255"),
    ("# a: b\nauth enforced\nuntil 5s", "did you mean `enforce`"),
    ("# a: b\nguardian maybe\nuntil 5s", "one of: on, off"),
    ("# a: b\nguardian off\nat 1s kill-all owner\nuntil 5s", "`guardian off`"),
    ("# a: b\npeer-link off\nat 1s link-peers-cut\nuntil 5s", "`peer-link off`"),
    ("# a: b\nlease 1500ms\nuntil 5s", "whole seconds"),
    ("# a: b\nat 1s move lb2\nuntil 5s", "here stands `to`"),
    ("# a: b\nat 1s reload lb1 adding backend\nuntil 5s", "a reload can't add"),
    ("# a: b\nat 1s rogue-advert priority 256 for 1s\nuntil 5s", "0 to 255"),
    ("# a: b\nat 1s clock-jump lb1 by far\nuntil 5s", "a time is a number"),
    ("# a: b\nat 1s hog\nuntil 5s", "here stands `for`"),
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
