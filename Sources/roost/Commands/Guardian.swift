import Guardian

/// `roost guardian [--realtime] --pid-file PATH`: what the daemon starts beside itself. It is for no person, so no help tells of it.
struct GuardianCommand {
  private static let name = "guardian"
  private static let realtime = "--realtime"
  private static let pidFile = "--pid-file"

  private let path: String?
  private let isRealtime: Bool

  /// Nil where the arguments are another command's.
  init?(_ arguments: [String]) {
    guard arguments.count > 1, arguments[1] == Self.name else { return nil }
    let options = arguments.dropFirst(2)
    isRealtime = options.contains(Self.realtime)
    path = options.firstIndex(of: Self.pidFile).flatMap { options.indices.contains($0 + 1) ? options[$0 + 1] : nil }
  }

  /// How the daemon starts it. Secrets go another way: everybody may read arguments.
  static func command(pidFile: String, isRealtime: Bool) -> GuardianKeeper.Command {
    GuardianKeeper.Command(
      arguments: ["roost", name] + (isRealtime ? [realtime] : []) + [Self.pidFile, pidFile], pidFile: pidFile)
  }

  func run() -> Int32 {
    GuardianProcess.run(pidFile: path, isRealtime: isRealtime, sign: FarewellSigner.sign)
  }
}
