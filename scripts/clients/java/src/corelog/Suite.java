package corelog;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.ExecutionException;

/**
 * Runs named checks one after the other and counts them. Every suite here makes one, and its last line is the one
 * that scripts/test adds up. Deliberately absent: annotations, discovery, a test framework.
 */
final class Suite {
    interface Body {
        void run() throws Exception;
    }

    private final String name;
    private int passed;
    private int failed;

    Suite(String name) {
        this.name = name;
    }

    /** Runs one check; what it throws is its failure, and the next check runs all the same. */
    void check(String what, Body body) {
        long start = System.nanoTime();
        try {
            body.run();
            passed++;
            System.out.printf("ok      %s: %s (%d ms)%n", name, what, millisSince(start));
        } catch (Throwable failure) {
            failed++;
            StringWriter trace = new StringWriter();
            failure.printStackTrace(new PrintWriter(trace));
            System.out.printf("FAILED  %s: %s (%d ms)%n%s", name, what, millisSince(start), trace);
        }
    }

    /** Prints the closing line and says whether all was well. */
    boolean finish() {
        System.out.printf("%d passed, %d failed%n", passed, failed);
        return failed == 0;
    }

    static long millisSince(long startNanos) {
        return (System.nanoTime() - startNanos) / 1_000_000;
    }

    static void equal(Object expected, Object actual, String what) {
        if (!Objects.deepEquals(expected, actual)) {
            throw new AssertionError(what + ": expected " + show(expected) + ", got " + show(actual));
        }
    }

    static void that(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    /** Expects the body to fail with this exception, alone or inside an ExecutionException; returns it. */
    static <E extends Throwable> E fails(Class<E> expected, Body body) throws Exception {
        Throwable thrown;
        try {
            body.run();
            throw new AssertionError("expected " + expected.getSimpleName() + ", but it worked");
        } catch (ExecutionException e) {
            thrown = e.getCause();
        } catch (Exception e) {
            thrown = e;
        }
        if (!expected.isInstance(thrown)) {
            throw new AssertionError("expected " + expected.getSimpleName() + ", got " + thrown, thrown);
        }
        return expected.cast(thrown);
    }

    private static String show(Object value) {
        return value instanceof byte[] bytes ? Arrays.toString(bytes) : String.valueOf(value);
    }
}
