package corelog;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The programs of the Java suites: admin, produce, store, consume, group, life, million, read, kill-load. Called by scripts/clients. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        String bootstrap = System.getenv("CORELOG_BOOTSTRAP");
        if (bootstrap == null || arguments.length == 0) {
            System.err.println("usage: CORELOG_BOOTSTRAP=host:port Main admin|produce|store|consume|group|consumer-protocol|group-member DIR TOPIC GROUP NAME|life DIR|life-again DIR|life-load DIR TOPIC|million N DIR|kill-load DIR TOPIC|read DIR TOPIC PASS");
            System.exit(2);
        }
        Connections connections = new Connections(bootstrap);
        boolean good = switch (arguments[0]) {
            case "admin" -> AdminSuite.run(connections);
            case "produce" -> ProduceSuite.run(connections);
            case "store" -> StoreSuite.run(connections);
            case "consume" -> ConsumeSuite.run(connections);
            case "group" -> GroupSuite.run(connections);
            case "consumer-protocol" -> ConsumerProtocolSuite.run(connections);
            case "group-member" ->
                GroupMember.run(connections, directory(arguments[1]), arguments[2], arguments[3], arguments[4]);
            case "life" -> LifeSuite.run(connections, directory(arguments[1]));
            case "life-again" -> LifeSuite.runAgain(connections, directory(arguments[1]));
            case "life-load" -> LifeLoad.run(connections, directory(arguments[1]), arguments[2]);
            case "million" -> Million.run(connections, Long.parseLong(arguments[1]), directory(arguments[2]));
            case "kill-load" -> KillLoad.run(connections, directory(arguments[1]), arguments[2]);
            case "read" -> read(connections, directory(arguments[1]), arguments[2], Integer.parseInt(arguments[3]));
            default -> throw new IllegalArgumentException("no program called " + arguments[0]);
        };
        // The clients' threads are daemons or closed; an explicit exit says so even when one is not.
        System.exit(good ? 0 : 1);
    }

    /** Reads a whole topic as one complete pass. */
    private static boolean read(Connections connections, Path directory, String topic, int pass) throws Exception {
        try (History history = new History(directory.resolve("pass-" + pass + ".history"))) {
            long came = new Load(connections, history).readAll(pass, List.of(topic));
            System.out.println("pass " + pass + ": " + came + " records");
        }
        return true;
    }

    private static Path directory(String name) throws Exception {
        return Files.createDirectories(Path.of(name));
    }
}
