import ArgumentParser
import Basis
import Glibc
import Node
import Telemetry

struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Run a recording of `roost run --record` again, and see whether this program decides the same.",
    discussion: "Exit code 1 where it does not. Prints what was worth a line in the log; --events prints everything.")

  @Argument(help: "The recording.")
  var file: String

  @Flag(name: .long, help: "Print every event with its effects.")
  var events = false

  func run() throws {
    guard let bytes = readFile(file) else { throw fail("\(file) can't be read") }
    do throws(RecordingError) {
      let settings = try RecordingReader(bytes).settings
      var first: Instant?
      let replay = try Replay(bytes) { event, now, effects in
        if first == nil { first = now }
        show(event, after: now - (first ?? now), effects, settings)
      }
      try conclude(replay)
    } catch {
      throw fail("\(file): \(error)")
    }
  }

  private func show(_ event: Event, after time: Duration, _ effects: [Effect], _ settings: NodeSettings) {
    let seconds = padded(time)
    if events { print("\(seconds)  \(event)") }
    for effect in effects {
      if case .report(let occurrence) = effect {
        print("\(seconds)  \(settings.text(of: occurrence))")
      } else if events {
        print("\(seconds)    → \(effect)")
      }
    }
  }

  private func padded(_ time: Duration) -> String {
    let microseconds = time.nanoseconds / 1000
    let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
    let whole = String(microseconds / 1_000_000)
    return String(repeating: " ", count: max(0, 6 - whole.count)) + whole + "." + fraction
  }

  private func conclude(_ replay: Replay) throws(RecordingError) {
    if replay.isCut { printError("the recording was cut off; what stood before that was run") }
    switch replay.outcome {
    case .identical:
      print("\(replay.events) events, every decision the same")
      if !replay.isFinished, replay.events > 0 {
        print("the recording was not ended politely: what its last event led to is not in it, and was not compared")
      }
    case .differs(let difference):
      print("event \(difference.index) is decided otherwise: \(difference.event)")
      for effect in difference.effects { print("  now → \(effect)") }
      Glibc.exit(ExitStatus.failed.rawValue)
    }
  }
}
