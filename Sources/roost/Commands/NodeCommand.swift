import ArgumentParser

struct NodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "node", abstract: "Take this node out of every election politely, and back.",
    subcommands: [Standby.self, Resume.self])

  struct Standby: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Hand over what this node owns, and stay out of every election.",
      discussion: """
        The daemon goes on running, and serves nothing. `roost node resume` or a restart ends it. Where no other node can own \
        what this one owns, as far as it knows, nothing is done, and it says so.
        """)

    @Flag(name: .long, help: "Also where a VIP is nowhere then.")
    var force = false

    @OptionGroup var socket: SocketOption

    func run() throws {
      _ = try Asking(socket: socket, timeout: .seconds(310))
        .ask("POST", "/node/standby" + (force ? "?force=true" : ""))
      print("this node owns nothing now, and takes nothing")
    }
  }

  struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Take part in elections again.")

    @OptionGroup var socket: SocketOption

    func run() throws {
      _ = try Asking(socket: socket).ask("POST", "/node/resume")
      print("this node takes part again")
    }
  }
}
