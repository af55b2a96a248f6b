package corelog;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The programs of the Java suites: admin, produce, consume, million, read, kill-load. Called by scripts/clients. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        String bootstrap = System.getenv("CORELOG_BOOTSTRAP");
        if (bootstrap == null || arguments.length == 0) {
            System.err.println("usage: CORELOG_BOOTSTRAP=host:port Main admin|produce|consume|million N DIR|read DIR PASS TOPIC...");
            System.exit(2);
        }
        Connections connections = new Connections(bootstrap);
        boolean good = switch (arguments[0]) {
            case "admin" -> AdminSuite.run(connections);
            case "produce" -> ProduceSuite.run(connections);
            case "consume" -> ConsumeSuite.run(connections);
            case "million" -> Million.run(connections, Long.parseLong(arguments[1]), directory(arguments[2]));
            default -> throw new IllegalArgumentException("no program called " + arguments[0]);
        };
        // The clients' threads are daemons or closed; an explicit exit says so even when one is not.
        System.exit(good ? 0 : 1);
    }

    private static Path directory(String name) throws Exception {
        return Files.createDirectories(Path.of(name));
    }
}
