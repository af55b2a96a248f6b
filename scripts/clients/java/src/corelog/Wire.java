package corelog;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.Records;
import org.apache.kafka.common.requests.AbstractRequest;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.FetchRequest;
import org.apache.kafka.common.requests.FetchResponse;
import org.apache.kafka.common.requests.RequestHeader;

/** One connection on which requests are sent by hand: for what the clients hide, such as how batches are compressed. */
final class Wire implements AutoCloseable {
    private final Socket socket;
    private int correlationId;

    Wire(String bootstrap) throws Exception {
        int colon = bootstrap.lastIndexOf(':');
        socket = new Socket(bootstrap.substring(0, colon), Integer.parseInt(bootstrap.substring(colon + 1)));
        socket.setSoTimeout((int) Connections.PATIENCE.toMillis());
    }

    AbstractResponse send(ApiKeys key, AbstractRequest request) throws Exception {
        RequestHeader header = new RequestHeader(key, request.version(), "wire", ++correlationId);
        ByteBuffer frame = request.serializeWithHeader(header);
        DataOutputStream out = new DataOutputStream(socket.getOutputStream());
        out.writeInt(frame.remaining());
        out.write(frame.array(), frame.arrayOffset() + frame.position(), frame.remaining());
        out.flush();
        DataInputStream in = new DataInputStream(socket.getInputStream());
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        return AbstractResponse.parseResponse(ByteBuffer.wrap(answer), header);
    }

    /** What a fetch of one partition from offset 0 is answered, in any version that names topics by name. */
    FetchResponseData.PartitionData fetch(TopicPartition partition, int version) throws Exception {
        Map<TopicPartition, FetchRequest.PartitionData> wanted = new HashMap<>();
        wanted.put(partition, new FetchRequest.PartitionData(Uuid.ZERO_UUID, 0, -1, 64 << 20, Optional.empty()));
        FetchRequest request = FetchRequest.Builder.forConsumer((short) version, 500, 1, wanted).build((short) version);
        FetchResponse response = (FetchResponse) send(ApiKeys.FETCH, request);
        return response.data().responses().get(0).partitions().get(0);
    }

    /** The batches of a partition that one fetch returns. */
    List<RecordBatch> batches(TopicPartition partition) throws Exception {
        FetchResponseData.PartitionData answer = fetch(partition, 12);
        Suite.equal(Errors.NONE.code(), answer.errorCode(), "error");
        List<RecordBatch> batches = new ArrayList<>();
        Records records = FetchResponse.recordsOrFail(answer);
        for (RecordBatch batch : records.batches()) {
            ((MutableRecordBatch) batch).ensureValid();
            batches.add(batch);
        }
        return batches;
    }

    @Override
    public void close() throws Exception {
        socket.close();
    }
}
